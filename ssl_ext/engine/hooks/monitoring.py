"""Functions shared by monitoring hooks."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from torch import nn

from ssl_ext.logs import FILE_ONLY


def bare_model(runner) -> nn.Module:
    """The model without its DDP wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def log_interval(runner) -> int:
    """Iterations between two log lines of the runner."""
    return next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 1)


def line_due(hook: Hook, runner, batch_idx: int) -> bool:
    """True if a log line follows this step."""
    return hook.every_n_inner_iters(batch_idx, log_interval(runner)) or hook.end_of_epoch(
        runner.train_dataloader, batch_idx
    )


def report(runner, figures: Mapping[str, float]) -> None:
    """Write figures of the finished epoch to the log files, and keep them for the console's line."""
    if not figures or not is_main_process():
        return
    epoch = runner.epoch + 1
    runner.visualizer.add_scalars(
        dict(figures, epoch=epoch), step=runner.iter, file_path=f"{runner.timestamp}.json"
    )
    words = "  ".join(f"{name}: {value:.4f}" for name, value in figures.items())
    runner.logger.info(f"Epoch({epoch}) {words}", extra=FILE_ONLY)
    runner.figures.update(figures)


def check_positive(hook: str, **values: int) -> None:
    """Raise ValueError unless every value is an integer of at least 1."""
    for key, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{hook}.{key} is {value!r}; it must be at least 1.")
