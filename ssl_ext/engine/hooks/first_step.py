"""What is written once a run is known to work."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class FirstStepHook(Hook):
    """After the first step of a process, write the config and call ``write``.

    A config that cannot train replaces nothing that an earlier run has left in the work dir.

    Args:
        write: Called on the first process.
    """

    # When all hooks with settings of their own have run, and before the run can be told to leave.
    priority = "VERY_LOW"

    def __init__(self, write: Callable[[], None]) -> None:
        self.write, self.taken = write, False

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Write, and remember that a step was taken."""
        if self.taken:
            return
        self.taken = True
        if is_main_process():
            runner.write_config()
            self.write()
