"""Hook that calls the model's methods around a training step."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_ext.registry import HOOKS

from .monitoring import bare_model
from .step_hook import StepHook


@HOOKS.register_module()
class ModelStepHook(StepHook):
    """Call ``model.before_step`` before every batch, ``after_update`` and ``between_steps`` after updates.

    ``after_update`` is called within the step, ``between_steps`` after it. With gradient accumulation several
    batches make one optimiser step. Neither is called for steps that the float16 scaler skips because of
    overflow. The runner adds this hook.
    """

    # Before checkpoints are written and before anything is measured.
    priority = "HIGH"

    def __init__(self) -> None:
        self.stepped, self.handle = False, None

    def before_train(self, runner) -> None:
        """Register a hook on the optimiser, which is not called for skipped steps."""
        self.handle = runner.optim_wrapper.optimizer.register_step_post_hook(self._see_step)

    def _see_step(self, *_: object) -> None:
        self.stepped = True

    def release(self) -> None:
        """Remove the hook, however training ended."""
        if self.handle is not None:
            self.handle.remove()

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Prepare the model for a batch."""
        step, _ = optimiser_steps(runner)
        bare_model(runner).before_step(step, runner.iter + 1, data_batch)

    def begin_step(self) -> None:
        """Reset the flag of an unfinished step."""
        self.stepped = False

    def device_step(self, runner, batch: dict[str, Any], outputs: dict[str, Tensor]) -> bool:
        """Call ``after_update`` if the optimiser was called; return whether it was."""
        stepped, self.stepped = self.stepped, False
        if stepped:
            bare_model(runner).after_update(runner.train_step.numbers)
        return stepped

    def host_step(self, runner, result: bool) -> None:
        """Call ``between_steps`` if the optimiser was called."""
        if result:
            step, _ = optimiser_steps(runner)
            bare_model(runner).between_steps(step)


def optimiser_steps(runner) -> tuple[int, int]:
    """1-based optimiser step of the current batch, and the number of optimiser steps of the run."""
    every = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
    return -(-(runner.iter + 1) // every), -(-runner.max_iters // every)
