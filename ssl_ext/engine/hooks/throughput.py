"""Logging of images per second and peak memory."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from ssl_ext.env import peak_resident_bytes
from ssl_ext.registry import HOOKS

from .monitoring import line_due


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Log ``images_per_second`` (all processes) and peak memory of host and device in MiB.

    Images per second are computed from the mean step time since the last log line.
    """

    # After IterTimerHook (50) has timed the step, before LoggerHook (60) prints it.
    priority = 55

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Add the figures to the log buffers, if a log line follows."""
        if not line_due(self, runner, batch_idx):
            return
        hub = runner.message_hub
        seconds = hub.get_scalar("train/time").current()
        images = len(data_batch["inputs"]) * get_world_size()
        hub.update_scalar("train/images_per_second", images / max(seconds, 1e-9))
        hub.update_scalar("train/peak_memory_mib", peak_resident_bytes() / 2**20)
        if torch.cuda.is_available():
            hub.update_scalar("train/peak_device_memory_mib", torch.cuda.max_memory_allocated() / 2**20)
