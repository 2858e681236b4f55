"""The training loop, which can go on in the middle of an epoch."""

from __future__ import annotations

from contextlib import nullcontext

from mmengine.runner import EpochBasedTrainLoop

from .hooks.random_state import kept_random_state


class EpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, except that a run resumes at the batch after its last step.

    MMEngine starts the epoch again, and sees and counts its first batches twice. The sampler has to be
    :class:`~ssl_ext.datasets.DefaultSampler`, which can leave out what has been seen.
    """

    def run_epoch(self) -> None:
        """One epoch, or what is left of it."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        # A loader draws a seed when its epoch starts: in the middle of an epoch that draw has been made.
        with kept_random_state() if done else nullcontext():
            if done:
                self.dataloader.sampler.skip = done * self.dataloader.batch_size
            batches = iter(self.dataloader)
        for index, batch in enumerate(batches, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
