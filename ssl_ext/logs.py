"""Log messages on the console, and Python warnings in the log."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .console import prints, screen

# Packages whose messages below an error go to the log file only.
QUIET = ("mmengine", "mmcv", "mmpretrain", "mmdet", "torch")
FILE_ONLY = {"file_only": True}
"""``extra`` of a logging call whose message is for the log file only."""


class ConsoleHandler(logging.Handler):
    """Prints messages without time and level, and those of other packages only if they are errors.

    Messages with ``extra=FILE_ONLY`` are left to the log file.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        error = record.levelno >= logging.ERROR
        if not error and (getattr(record, "file_only", False) or not prints() or _caller() in QUIET):
            return
        kind = record.levelname.lower()
        text = record.getMessage()
        try:
            if record.levelno < logging.WARNING:
                screen.say(text)
            else:
                screen.say(f"{kind}: {text}", style="yellow")
        except Exception:
            self.handleError(record)


def _caller() -> str:
    """Package of the function that logs."""
    frame = sys._getframe(1)
    skipped = (__name__, "logging", "mmengine.logging")
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(skipped):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def plain_lines(logger: Any) -> None:
    """Let an ``MMLogger`` print to the console by a :class:`ConsoleHandler`."""
    for number, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.handlers[number] = plain = ConsoleHandler(handler.level)
            for wanted in handler.filters:
                plain.addFilter(wanted)


@contextmanager
def warnings_in_log() -> Iterator[None]:
    """Write Python warnings of other packages to the log file of the run, not to the console."""
    shown = warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, *more: Any) -> None:
        if "site-packages" not in filename:
            shown(message, category, filename, lineno, *more)
        elif module := sys.modules.get("mmengine.logging"):
            logger = module.MMLogger.get_current_instance()
            logger.warning(f"{filename}:{lineno}: {category.__name__}: {message}", extra=FILE_ONLY)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = shown
