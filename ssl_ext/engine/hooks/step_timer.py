"""Mean time of a training step since the last log line."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import IterTimerHook as MMEngineIterTimerHook

from ssl_ext.registry import HOOKS

from .monitoring import line_due


@HOOKS.register_module()
class IterTimerHook(MMEngineIterTimerHook):
    """Log ``time``, the mean over the steps since the last line, and ``data_time``.

    The host runs ahead of an accelerator until it reads the terms of a log line, so times of single steps on
    the host are meaningless.
    """

    def before_train(self, runner: Any) -> None:
        """Start counting at the first step of this run, also when it is resumed."""
        super().before_train(runner)
        self.steps, self.since = 0, time.time()

    def before_train_epoch(self, runner: Any) -> None:
        """Restart the clock, to exclude the time between epochs."""
        super().before_train_epoch(runner)
        self.steps, self.since = 0, self.t

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Count the step; at a log line, log the mean time for every step since the last one."""
        self.t = time.time()
        self.steps += 1
        if not line_due(self, runner, batch_idx):
            return
        mean = (self.t - self.since) / self.steps
        for _ in range(self.steps):
            runner.message_hub.update_scalar("train/time", mean)
        self.time_sec_tot += self.t - self.since
        taken = runner.iter - self.start_iter + 1
        left = runner.max_iters - runner.iter - 1
        runner.message_hub.update_info("eta", self.time_sec_tot / taken * left)
        self.steps, self.since = 0, self.t
