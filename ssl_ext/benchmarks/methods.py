"""A training step of one method against a step of another, in turn and on the same views."""

import os
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed

from ssl_ext.apis import build_model
from ssl_ext.benchmarks.pairs import Comparison, compare
from ssl_ext.benchmarks.step import WARMUP, bare_steps, step_config, torch_threads
from ssl_ext.errors import UserError
from ssl_ext.registry import OPTIMIZERS

METHOD_TARGET = 1.05


def benchmark_methods(
    config: Config | str | os.PathLike,
    other: Config | str | os.PathLike,
    *,
    pairs: int = 5,
    threads: int | None = None,
    batch_size: int = 256,
    size: int = 32,
    steps: int = 4,
    stem: str | None = None,
) -> Comparison:
    """Time ``steps`` bare training steps of two methods, in turn; items are images.

    A step is forward, loss, backward, optimiser and EMA on views that were drawn before, the same for both.
    The names in the result are the configs' ``model.type``; the reference is the first, so the speedup of
    the second is what a step of the first costs more.

    Args:
        config: A pretraining config, or the path of a config file; its data set is not read.
        other: Such a config of the method to compare with.
        pairs: Rounds, at least 5.
        threads: Torch's number of threads; by default unchanged.
        batch_size: Images per step.
        size: Their side in pixels.
        steps: Steps per call.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of both backbones; by default the configs'.

    Raises:
        UserError: Bad config, unknown stem, mixed precision, twice the same method.
        ValueError: A number out of range.
    """
    numbers = dict(batch_size=batch_size, size=size, steps=steps, threads=threads)
    configs = [step_config(c, stem, **numbers) for c in (config, other)]
    names = [c.model.type for c in configs]
    if names[0] == names[1]:
        raise UserError(f"Both configs have model.type={names[0]!r}; two methods are compared.")
    with torch_threads(threads):
        set_random_seed(0)
        shape = (batch_size, len(configs[0].data_preprocessor.mean), size, size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        return compare(
            {name: _steps(c, images, steps) for name, c in zip(names, configs, strict=True)},
            reference=names[0],
            pairs=pairs,
            warmup=WARMUP,
            items=steps * batch_size,
            unit="images",
        )


def _steps(config: Config, images: torch.Tensor, steps: int) -> Callable[[], None]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(config).to(device).train()
    set_random_seed(0)  # both methods get the same views
    views = model.data_preprocessor(dict(inputs=images), training=True)["inputs"]
    optimizer = OPTIMIZERS.build(dict(config.optim_wrapper.optimizer, params=list(model.parameters())))
    return bare_steps(model, optimizer, views, steps)
