"""Training loops over epochs, which can resume within an epoch, and over iterations."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from .hooks.random_state import kept_random_state
from .step import train_step


class StepLoop:
    """Mixin for loops that run the steps of :func:`ssl_ext.engine.step.train_step`."""

    runner: Any
    _iter: int

    def run(self) -> nn.Module:
        """Train."""
        with train_step(self.runner) as self.runner.train_step:
            return super().run()  # type: ignore[misc]

    def take_step(self, index: int, batch: dict[str, Any]) -> None:
        """Run the step of one batch with the hooks before and after it."""
        self.runner.call_hook("before_train_iter", batch_idx=index, data_batch=batch)
        outputs = self.runner.train_step(batch)
        self.runner.call_hook("after_train_iter", batch_idx=index, data_batch=batch, outputs=outputs)
        self._iter += 1


class IterLoop(StepLoop, IterBasedTrainLoop):
    """MMEngine's loop over iterations."""

    def run_iter(self, data_batch: dict[str, Any]) -> None:
        """Run one step."""
        self.take_step(self._iter, data_batch)


class EpochLoop(StepLoop, EpochBasedTrainLoop):
    """MMEngine's loop over epochs, except that a run resumes at the batch after its last step.

    MMEngine restarts the epoch, so its first batches are used and counted twice. The sampler must be
    :class:`~ssl_ext.datasets.DefaultSampler`, which can skip the samples already used.
    """

    def run_epoch(self) -> None:
        """Run one epoch, or the rest of a resumed epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        # A loader draws a seed when an epoch starts; for a resumed epoch that draw was already made.
        with kept_random_state() if done else nullcontext():
            if done:
                self.dataloader.sampler.skip = done * self.dataloader.batch_size
            batches = iter(self.dataloader)
        for index, batch in enumerate(batches, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Run one step."""
        self.take_step(idx, data_batch)
