"""A training step in one of several processes: alone, or with the others under DDP."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from ssl_ext.apis import load_config
from ssl_ext.benchmarks.step import model_in_training
from ssl_ext.env import peak_resident_bytes
from ssl_ext.registry import OPTIMIZERS

from .processes import backend, outside_the_group
from .traffic import Collective, CollectiveCounter, NormPass, collectives, norm_passes

SETTLING = 2  # steps after which DDP keeps its buckets
DATASET = 50_000  # images that memory banks keep an entry of


@dataclass(frozen=True)
class StepMaker:
    """Makes the :class:`ScaledStep` of each process; can be pickled.

    Args:
        config: The content of a config.
        batch_size: Images of a process.
        size: Their side in pixels.
        threads: Torch's threads in each process.
        dataset: Images that memory banks keep an entry of.
    """

    config: dict
    batch_size: int
    size: int
    threads: int
    dataset: int = DATASET

    def __call__(self, rank: int, world: int) -> ScaledStep:
        """The step in process ``rank``."""
        return ScaledStep(self, rank, world)


class ScaledStep:
    """The same model twice, bare and under DDP, each with its optimiser, and views that were drawn before.

    Everything random is the same on all processes, but for the images.
    """

    def __init__(self, maker: StepMaker, rank: int, world: int) -> None:
        torch.set_num_threads(maker.threads)
        config = load_config(Config(maker.config))
        self.device = torch.device("cuda", rank) if backend(world) == "nccl" else torch.device("cpu")
        self.bare, self.joined = (
            model_in_training(config, dataset=maker.dataset, device=self.device) for _ in range(2)
        )
        options = {}
        if self.device.type == "cuda":
            self.joined = nn.SyncBatchNorm.convert_sync_batchnorm(self.joined)
            options["device_ids"] = [rank]
        self.network = MMDistributedDataParallel(module=self.joined, broadcast_buffers=False, **options)
        self.optimizers = [self._optimizer(config, model) for model in (self.bare, self.joined)]
        set_random_seed(rank)
        shape = (maker.batch_size, len(self.bare.data_preprocessor.mean), maker.size, maker.size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        self.views: list[Tensor] = self.bare.data_preprocessor(dict(inputs=images), training=True)["inputs"]
        rows = torch.randperm(maker.dataset)[: maker.batch_size]
        labels = torch.randint(class_count(self.bare), (maker.batch_size,))
        self.samples = dict(indices=rows.to(self.device), labels=labels.to(self.device))
        # One for each model: what happens every so many steps must happen in all joined processes at once.
        self.taken = [0, 0]

    def _optimizer(self, config: Config, model: nn.Module) -> torch.optim.Optimizer:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        return OPTIMIZERS.build(dict(config.optim_wrapper.optimizer, params=weights))

    def take(self, batch_size: int, *, joined: bool) -> None:
        """A training step: forward, loss, backward, optimiser, and what the model does after it."""
        network, model = (self.network, self.joined) if joined else (self.bare, self.bare)
        optimizer = self.optimizers[joined]
        views = [view[:batch_size] for view in self.views]
        samples = {name: values[:batch_size] for name, values in self.samples.items()}
        model.before_step(self.taken[joined] + 1, self.taken[joined] + 1)
        losses = network(views, samples, mode="loss")
        total = sum(value for name, value in losses.items() if name.startswith("loss"))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        self.taken[joined] += 1
        model.after_step(self.taken[joined], self.taken[joined])

    def seconds(self, batch_size: int, steps: int, joined: bool) -> float:
        """Seconds of a step, the mean of so many, under DDP or outside the group."""
        with nullcontext() if joined else outside_the_group():
            return self._time(lambda: self.take(batch_size, joined=joined), steps)

    def count(self, batch_size: int, steps: int = 1) -> list[Collective]:
        """Collectives of a step under DDP, counted over ``steps`` steps."""
        for _ in range(SETTLING):
            self.take(batch_size, joined=True)
        with CollectiveCounter() as counter:
            for _ in range(steps):
                self.take(batch_size, joined=True)
        return collectives(counter.calls, steps)

    def norms(self, batch_size: int) -> list[NormPass]:
        """Training passes through batch normalisations in a step."""
        with outside_the_group(), norm_passes(self.bare) as passes:
            self.take(batch_size, joined=False)
        return passes

    def all_reduce_seconds(self, size: int, repeats: int) -> float:
        """Seconds of an all-reduce of ``size`` bytes, the mean of several after one more."""
        tensor = torch.zeros(size // 4, device=self.device)
        dist.all_reduce(tensor)
        return self._time(lambda: dist.all_reduce(tensor), repeats)

    def peaks(self) -> tuple[int, int | None]:
        """Bytes of memory that were needed at most: resident ones, those of the GPU."""
        on_gpu = self.device.type == "cuda"
        return peak_resident_bytes(), torch.cuda.max_memory_allocated(self.device) if on_gpu else None

    def _time(self, call: Callable[[], None], repeats: int) -> float:
        self._finish()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self._finish()
        return (time.perf_counter() - start) / repeats

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def class_count(model: nn.Module) -> int:
    """Number of classes that the labels of a model may have."""
    source = getattr(model, "label_source", None)
    return getattr(model, "num_classes", None) or getattr(source, "num_classes", 1)
