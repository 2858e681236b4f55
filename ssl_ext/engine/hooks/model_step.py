"""What a model does after each optimiser step, such as moving its EMA networks."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class ModelStepHook(Hook):
    """Call ``model.after_step(step, max_steps)`` after each step of the optimiser.

    Both are numbers of optimiser steps: with gradient accumulation the iterations in between do not
    count. The runner adds this hook for every model that has the method.
    """

    # Before checkpoints are written and before anything is measured.
    priority = "HIGH"

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Pass on the step that was just taken."""
        if not runner.optim_wrapper.should_update():
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        every = runner.optim_wrapper._accumulative_counts
        model.after_step(-(-(runner.iter + 1) // every), -(-runner.max_iters // every))
