"""Calls the model's own parts of a training step."""

from __future__ import annotations

from mmengine.hooks import Hook

from ssl_ext.registry import HOOKS

from .monitoring import bare_model


@HOOKS.register_module()
class ModelStepHook(Hook):
    """Call ``model.before_step`` before every batch and ``model.after_step`` after every optimiser step.

    With gradient accumulation several batches make one optimiser step. A step that float16's scaler skips, as
    its gradients overflowed, is not followed by ``after_step``. The runner adds this hook.
    """

    # Before checkpoints are written and before anything is measured.
    priority = "HIGH"

    def __init__(self) -> None:
        self.stepped, self.handle = False, None

    def before_train(self, runner) -> None:
        """Watch the optimiser, which is not called for a skipped step."""
        self.handle = runner.optim_wrapper.optimizer.register_step_post_hook(self._see_step)

    def _see_step(self, *_: object) -> None:
        self.stepped = True

    def release(self) -> None:
        """Stop watching, whichever way training ended."""
        if self.handle is not None:
            self.handle.remove()

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Prepare the model for a batch."""
        step, _ = optimiser_steps(runner)
        bare_model(runner).before_step(step, runner.iter + 1, data_batch)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Let the model follow the optimiser step that was just taken."""
        if self.stepped:
            self.stepped = False
            bare_model(runner).after_step(*optimiser_steps(runner))


def optimiser_steps(runner) -> tuple[int, int]:
    """Optimiser step that the current batch counts towards, from 1, and their number in the whole run."""
    every = runner.optim_wrapper._accumulative_counts
    return -(-(runner.iter + 1) // every), -(-runner.max_iters // every)
