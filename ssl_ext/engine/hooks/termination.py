"""Leaving when the system asks for it, with everything saved."""

from __future__ import annotations

import signal
import threading

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, is_distributed, is_main_process
from mmengine.hooks import Hook

from ssl_ext.engine.checkpoint import INTERRUPTED
from ssl_ext.registry import HOOKS

from .monitoring import log_interval

EXIT_STATUS = 128 + signal.SIGTERM


@HOOKS.register_module()
class TerminationHook(Hook):
    """On SIGTERM or SIGUSR1, save ``interrupted.pth`` after the current step and leave with status 143.

    Schedulers send these some time before they kill (Slurm: ``--signal``). Several processes must stop
    after the same step: they ask each other at every line of the log only, since asking takes an exchange.
    """

    # After everything that belongs to a step.
    priority = "LOWEST"
    signals = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received: int | None = None
        self.before: dict[int, object] = {}

    def before_train(self, runner) -> None:
        """Take over the signals."""
        self.every = log_interval(runner) if is_distributed() else 1
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._receive) for number in self.signals}

    def _receive(self, number: int, frame: object) -> None:
        self.received = number

    def release(self) -> None:
        """Give the signals back, whichever way training ended."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Save and leave if any process was told to.

        Raises:
            SystemExit: With status 143, after the checkpoint was written.
        """
        if not self.every_n_train_iters(runner, self.every):
            return
        number = torch.tensor(self.received or 0, device=get_device())
        all_reduce(number, "max")
        if not number:
            return
        name = signal.Signals(int(number)).name
        runner.save_checkpoint(runner.work_dir, INTERRUPTED, by_epoch=False)
        if is_main_process():
            runner.logger.warning(
                f"{name} received: saved '{runner.work_dir}/{INTERRUPTED}' after step {runner.iter + 1} of "
                f"{runner.max_iters}. Go on with --resume."
            )
        raise SystemExit(EXIT_STATUS)
