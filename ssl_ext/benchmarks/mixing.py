"""AMix's supervised step against cross-entropy on a plain and on a ready mixed batch."""

import os

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from ssl_ext.apis import build_model
from ssl_ext.benchmarks.pairs import Comparison, compare
from ssl_ext.benchmarks.step import WARMUP, bare_steps, step_config, torch_threads
from ssl_ext.errors import UserError
from ssl_ext.losses import mixed_cross_entropy
from ssl_ext.losses.cross_entropy import cross_entropy
from ssl_ext.mixups import Mixed
from ssl_ext.models.classifiers.amix import AMix
from ssl_ext.registry import OPTIMIZERS

READY = "cross-entropy, plain and mixed"
MIXING_TARGET = 1.6


class ReadyMixtures(nn.Module):
    """The part of AMix that learns to classify: two passes of one network, given the mixed images."""

    def __init__(self, model: AMix, mixed: Mixed) -> None:
        super().__init__()
        self.backbone, self.head, self.mix_head = model.backbone, model.head, model.mix_head
        self.classify, self.extract_embedding = model.classify, model.extract_embedding
        self.mixed = mixed

    def loss(self, views: list[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Losses of the view [(N, C, H, W)] and of the mixtures."""
        labels = data_samples["labels"]
        logits = self.mix_head((self.extract_embedding(self.mixed.images),))
        return dict(
            loss_plain=cross_entropy(self.classify(views[0]), labels),
            loss_mix=mixed_cross_entropy(logits, labels, self.mixed),
        )


def benchmark_mixing(
    config: Config | str | os.PathLike,
    *,
    pairs: int = 5,
    threads: int | None = None,
    batch_size: int = 100,
    size: int = 32,
    steps: int = 4,
    stem: str | None = None,
) -> Comparison:
    """Time ``steps`` bare training steps of both, in turn and on the same views; items are images.

    The speedup of the second is what a step of AMix costs more (``MIXING_TARGET``).

    Args:
        config: A config of AMix or AutoMix, or the path of a config file; its data set is not read.
        pairs: Rounds, at least 5.
        threads: Torch's number of threads; by default unchanged.
        batch_size: Images per step.
        size: Their side in pixels.
        steps: Steps per call.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.

    Raises:
        UserError: Bad config, unknown stem, mixed precision, a model that learns no mixing.
        ValueError: A number out of range.
    """
    config = step_config(config, stem, batch_size=batch_size, size=size, steps=steps, threads=threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch_threads(threads):
        set_random_seed(0)
        ours, twin = (build_model(config).to(device).train() for _ in range(2))
        if not isinstance(ours, AMix):
            raise UserError(
                f"model.type is {config.model.type!r}; it must be a classifier that learns to mix."
            )
        images = torch.randint(0, 256, (batch_size, len(ours.data_preprocessor.mean), size, size))
        (view,) = ours.data_preprocessor(dict(inputs=images.to(torch.uint8)), training=True)["inputs"]
        labels = dict(labels=torch.randint(ours.num_classes, (batch_size,), device=device))
        lam, permutation = ours.draw(batch_size, view.device)
        mixed = Mixed(view.lerp(view[permutation], 0.5), lam, permutation)
        calls = {}
        for name, model in ((str(config.model.type), ours), (READY, ReadyMixtures(twin, mixed))):
            weights = [weight for weight in model.parameters() if weight.requires_grad]
            optimizer = OPTIMIZERS.build(dict(config.optim_wrapper.optimizer, params=weights))
            calls[name] = bare_steps(model, optimizer, [view], steps, labels)
        return compare(
            calls,
            reference=str(config.model.type),
            pairs=pairs,
            warmup=WARMUP,
            items=steps * batch_size,
            unit="images",
        )
