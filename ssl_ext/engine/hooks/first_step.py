"""Files written after the first training step."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ssl_ext.registry import HOOKS


@HOOKS.register_module()
class FirstStepHook(Hook):
    """After the first step, write the config and call ``write``.

    So a config that cannot train does not overwrite files of an earlier run in the work dir.

    Args:
        write: Called on the first process.
    """

    # After the other hooks, and before TerminationHook, which may end the run.
    priority = "VERY_LOW"

    def __init__(self, write: Callable[[], None]) -> None:
        self.write, self.taken = write, False

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Write once."""
        if self.taken:
            return
        self.taken = True
        if is_main_process():
            runner.write_config()
            self.write()
