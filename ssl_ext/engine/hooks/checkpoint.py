"""Regular checkpoints, of which the newest k are kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import Hook

from ssl_ext.console import counted
from ssl_ext.engine.weights.checkpoint import remove_unfinished
from ssl_ext.registry import HOOKS

KEPT = "keep_ckpt_ids"


def checkpoint_times(hooks: Iterable[Hook]) -> str:
    """When regular checkpoints are saved, in words.

    >>> checkpoint_times([CheckpointHook(interval=10)]), checkpoint_times([CheckpointHook(1, by_epoch=False)])
    ('every 10 epochs', 'every 1 step')
    """
    for hook in hooks:
        if isinstance(hook, MMEngineCheckpointHook) and hook.interval > 0:
            return f"every {counted(hook.interval, 'epoch' if hook.by_epoch else 'step')}"
    return "at the end"


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's hook, except that an old checkpoint is deleted after the new one is complete.

    MMEngine deletes first, so a kill or a full disk while it saves could leave no checkpoint.
    """

    def before_train(self, runner) -> None:
        """Remove unfinished checkpoint files of a killed run from the work dir."""
        super().before_train(runner)
        if is_main_process():
            remove_unfinished(self.out_dir)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        limit, self.max_keep_ckpts = self.max_keep_ckpts, -1
        try:
            if limit > 0:
                kept = [old for old in runner.message_hub.runtime_info.get(KEPT, []) if old != step]
                # Stored in the checkpoint: a run killed before it deletes does so after resuming.
                runner.message_hub.update_info(KEPT, [*kept, step])
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        if limit > 0:
            kept = runner.message_hub.get_info(KEPT)
            for old in kept[:-limit]:
                if is_main_process():
                    Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)
            runner.message_hub.update_info(KEPT, kept[-limit:])
