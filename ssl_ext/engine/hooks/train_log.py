"""Logging of loss terms without a host sync at every step."""

from __future__ import annotations

import torch
from mmengine.hooks import RuntimeInfoHook

from ssl_ext.registry import HOOKS

from .monitoring import line_due

HISTORY = 1000


@HOOKS.register_module()
class TrainLogHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, without reading every loss term from the device at every step.

    The terms of all steps since the last log line are read in one transfer just before the next line or
    checkpoint is written.

    MMEngine keeps a million values of every figure, copies them all whenever one is added, and stores them in
    every checkpoint. Here 1,000 are kept, or as many as the longest smoothing window of the log.
    """

    def __init__(self) -> None:
        self.pending: list[dict[str, torch.Tensor]] = []

    def before_train(self, runner) -> None:
        """Determine how many values later log lines need."""
        super().before_train(runner)
        self.kept = history_length(runner)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Keep the terms of this step; log them when a line is due."""
        for history in runner.message_hub.log_scalars.values():
            history.max_length = self.kept
        if not outputs:
            return
        self.pending.append({k: v.detach() for k, v in outputs.items()})
        if line_due(self, runner, batch_idx):
            self.read_terms(runner)

    def read_terms(self, runner) -> None:
        """Pass the terms of the steps since the last call to the log."""
        if not self.pending:
            return
        # Terms are float32 or float64; stacking them makes one transfer.
        values = torch.stack([v.double() for terms in self.pending for v in terms.values()]).tolist()
        names = [name for terms in self.pending for name in terms]
        for name, value in zip(names, values, strict=True):
            runner.message_hub.update_scalar(f"train/{name}", value)
        self.pending.clear()


def history_length(runner) -> int:
    """Number of values per figure that later log lines need."""
    processor = runner.log_processor
    windows = [processor.window_size, *(entry.get("window_size") for entry in processor.custom_cfg)]
    lengths = {"epoch": len(runner.train_dataloader), "global": runner.max_iters, None: 0}
    return max(HISTORY, *(lengths.get(window, window) for window in windows))
