"""Save and exit on termination signals."""

from __future__ import annotations

import signal
import threading
import time

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.hooks import Hook

from ssl_ext.engine.weights.checkpoint import INTERRUPTED
from ssl_ext.registry import HOOKS

from .monitoring import log_interval

EXIT_STATUS = 128 + signal.SIGTERM
# Torchrun and Slurm send SIGKILL 30 seconds after SIGTERM; this leaves time to save.
ASK_SECONDS = 5.0
AGAIN_SECONDS = 1.0


@HOOKS.register_module()
class TerminationHook(Hook):
    """On SIGTERM, SIGUSR1 or Ctrl-C, save ``interrupted.pth`` after the current step and exit.

    The exit status is 143, or 130 after Ctrl-C; a second Ctrl-C exits at once. Schedulers send SIGTERM or
    SIGUSR1 some time before they kill a job (Slurm: ``--signal``). Several processes must stop after the same
    step: they synchronise about every five seconds, because this needs a collective, and at every log line.
    """

    # After all other hooks of a step.
    priority = "LOWEST"
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.received: int | None = None
        self.when = 0.0
        self.before: dict[int, object] = {}

    def before_train(self, runner) -> None:
        """Install the signal handlers."""
        self.steps, self.next, self.asked = 1, runner.iter + 1, time.monotonic()
        self.longest = log_interval(runner)
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._receive) for number in self.signals}

    def _receive(self, number: int, frame: object) -> None:
        # A terminal and a launcher both pass a single Ctrl-C on.
        if number == signal.SIGINT and self.received and time.monotonic() - self.when > AGAIN_SECONDS:
            raise KeyboardInterrupt
        self.received, self.when = number, time.monotonic()

    def release(self) -> None:
        """Restore the signal handlers, however training ended."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Save and exit if any process has received a signal.

        Raises:
            SystemExit: With status 143, after the checkpoint was written.
            KeyboardInterrupt: Likewise, after Ctrl-C.
        """
        number = self.ask(runner.iter + 1)
        if not number:
            return
        name = signal.Signals(number).name
        runner.save_checkpoint(runner.work_dir, INTERRUPTED, by_epoch=False)
        if is_main_process():
            runner.logger.warning(
                f"{name} received: saved '{runner.work_dir}/{INTERRUPTED}' after step {runner.iter + 1} of "
                f"{runner.max_iters}. Resume with --resume."
            )
        # No process exits before the file is complete: the launcher kills all others when one exits.
        barrier()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(EXIT_STATUS)

    def ask(self, step: int) -> int:
        """Signal received by any process, if processes synchronise after ``step``; else 0."""
        if get_world_size() == 1:
            return self.received or 0
        if step < self.next:
            return 0
        seconds = time.monotonic() - self.asked
        answers = torch.tensor([self.received or 0, seconds], device=get_device())
        all_reduce(answers, "max")
        number, seconds = answers.tolist()
        # The slowest process's time, so that all processes choose the same step.
        self.steps = max(1, min(self.longest, int(self.steps * ASK_SECONDS / max(seconds, 1e-3))))
        self.next, self.asked = step + self.steps, time.monotonic()
        return int(number)
