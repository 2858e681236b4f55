"""Logging of images per second, peak memory, start-up time and the memory of all processes."""

from __future__ import annotations

import multiprocessing
import os

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook

from ssl_ext.env import memory_of, peak_resident_bytes, seconds_since_start
from ssl_ext.logs import FILE_ONLY
from ssl_ext.registry import HOOKS

from .monitoring import line_due


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Log ``images_per_second`` (all processes) and peak memory of host and device in MiB.

    Images per second are computed from the mean step time since the last log line. Once, with the first log
    line, the time from the start of the program to its first step is logged, and on Linux the memory of all
    training processes and of their data loaders' workers.
    """

    started: float | None = None
    reported = False

    # After IterTimerHook (50) has timed the step, before LoggerHook (60) prints it.
    priority = 55

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Add the figures to the log buffers, if a log line follows."""
        if self.started is None:
            self.started = seconds_since_start()
        if not line_due(self, runner, batch_idx):
            return
        hub = runner.message_hub
        seconds = hub.get_scalar("train/time").current()
        images = len(data_batch["inputs"]) * get_world_size()
        hub.update_scalar("train/images_per_second", images / max(seconds, 1e-9))
        hub.update_scalar("train/peak_memory_mib", peak_resident_bytes() / 2**20)
        if torch.cuda.is_available():
            hub.update_scalar("train/peak_device_memory_mib", torch.cuda.max_memory_allocated() / 2**20)
        if not self.reported:
            self.reported = True
            words = f"{_seconds(self.started)}{memory_line(all_gather_object(own_memory()))}"
            runner.logger.info(words, extra=FILE_ONLY)


def _seconds(started: float | None) -> str:
    return "" if started is None else f"First step {started:.1f} s after the start of the program; "


def own_memory() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Memory of this process, and of each of its worker processes; empty where the system does not tell."""
    workers = [process.pid for process in multiprocessing.active_children()]
    own, others = ([memory_of(pid) for pid in pids if pid] for pids in ([os.getpid()], workers))
    return [found for found in own if found], [found for found in others if found]


def memory_line(gathered: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]) -> str:
    """Describe the memory of all training processes and workers.

    >>> memory_line([([(600 << 20, 500 << 20)], [(300 << 20, 40 << 20)] * 2)])
    'memory of 1 process(es) 600 MiB, of 2 workers 600 MiB; without counting shared pages twice 580 MiB'
    """
    main, workers = ([found for rank in gathered for found in rank[part]] for part in (0, 1))
    resident = [sum(found[0] for found in part) // 2**20 for part in (main, workers)]
    shared = sum(found[1] for found in main + workers) // 2**20
    return (
        f"memory of {len(main)} process(es) {resident[0]:,} MiB, "
        f"of {len(workers)} workers {resident[1]:,} MiB; "
        f"without counting shared pages twice {shared:,} MiB"
    )
