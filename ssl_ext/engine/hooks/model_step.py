"""What a model does after each optimiser step, such as moving its EMA networks."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class ModelStepHook(Hook):
    """Call ``model.after_step(step, max_steps)`` after each step of the optimiser.

    Both are numbers of optimiser steps: with gradient accumulation the iterations in between do not
    count. After a step that float16's scaler left out, as its gradients had overflowed, nothing is called.
    The runner adds this hook for every model that has the method.
    """

    # Before checkpoints are written and before anything is measured.
    priority = "HIGH"

    def __init__(self) -> None:
        self.stepped, self.handle = False, None

    def before_train(self, runner) -> None:
        """Watch the optimiser, which is not called for a step that is left out."""
        self.handle = runner.optim_wrapper.optimizer.register_step_post_hook(self._see_step)

    def _see_step(self, *_: object) -> None:
        self.stepped = True

    def release(self) -> None:
        """Stop watching, whichever way training ended."""
        if self.handle is not None:
            self.handle.remove()

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Pass on the step that was just taken."""
        if not self.stepped:
            return
        self.stepped = False
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        every = runner.optim_wrapper._accumulative_counts
        model.after_step(-(-(runner.iter + 1) // every), -(-runner.max_iters // every))
