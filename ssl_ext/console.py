"""Lines and progress on the console: bars on a terminal, lines at a bounded rate in a file or pipe.

Only the first process of a group prints.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any, TypeVar

T = TypeVar("T")
WIDTH = 100
FIRST = 1.5  # seconds until the first line of a task in a file or pipe
LONGEST = 60.0  # most seconds between two lines; they start at a sixth of it
REFRESH = 0.2  # seconds between two drawings of a bar


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, or hours too.

    >>> clock(59.6), clock(190), clock(93784)
    ('1:00', '3:10', '26:03:04')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    >>> counted(1, "step"), counted(2001, "step")
    ('1 step', '2,001 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_terminal() -> bool:
    """True if standard output is a terminal that can draw bars."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def prints() -> bool:
    """True on the first process of a group, and not in its data loaders' workers."""
    return os.environ.get("RANK", "0") == "0" and multiprocessing.parent_process() is None


@contextmanager
def says_that_it_loads() -> Iterator[None]:
    """Say on a terminal when the block begins to import PyTorch, which takes seconds."""

    class Notice(MetaPathFinder):
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "torch":
                sys.meta_path.remove(self)
                sys.stderr.write("loading PyTorch\n")
                sys.stderr.flush()

    notice = Notice()
    if sys.stderr.isatty() and prints() and "torch" not in sys.modules:
        sys.meta_path.insert(0, notice)
    try:
        yield
    finally:
        if notice in sys.meta_path:
            sys.meta_path.remove(notice)


class Screen:
    """Lines and bars of this process on its console.

    Attributes:
        tasks: Tasks in progress, the outermost first.
        muted: Number of contexts that suppress progress.
    """

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.muted = 0
        self.bars: Any = None
        self.drawn = 0.0
        self.lock = threading.RLock()

    def say(self, text: str, style: str = "") -> None:
        """Print a line, above the bars."""
        with self.lock:
            if self.bars and self.bars.tasks:
                from rich.text import Text

                self.bars.console.print(Text(text, style), soft_wrap=True)
                return
            if style and is_terminal():
                text = f"\x1b[33m{text}\x1b[0m"
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def add_bar(self, words: str, total: int | None) -> Any:
        """Draw one more bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self.bars is None:
            self.bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(file=sys.stdout, emoji=False, highlight=False),
                auto_refresh=False,  # no thread, of which a forked worker would inherit the locks
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.bars.start()
        task = self.bars.add_task(words, total=total, note="")
        self.bars.refresh()
        return task

    def move_bar(self, task: Any, done: int, words: str, note: str) -> None:
        """Set a bar, and draw it if it is due."""
        self.bars.update(task, completed=done, description=words, note=note)
        if time.monotonic() > self.drawn + REFRESH:
            self.bars.refresh()
            self.drawn = time.monotonic()

    def remove_bar(self, task: Any) -> None:
        """Remove a bar; the last one gives the terminal back."""
        self.bars.remove_task(task)
        if not self.bars.tasks:
            self.bars.stop()
            self.bars = None


screen = Screen()


class Task:
    """A task in progress; call it with what was done since the last call.

    Args:
        words: Name.
        parts: Names of the tasks around it, and its own.
        total: What is to be done, in ``unit``; None if unknown.
        unit: Plural noun.
    """

    def __init__(self, words: str, parts: Iterable[str], total: int | None, unit: str) -> None:
        self.words, self.parts, self.total, self.unit = words, ", ".join(parts), total, unit
        self.done, self.start = 0, time.monotonic()
        self.pause = LONGEST / 6
        self.due = self.start + FIRST + self.pause
        self.bar = screen.add_bar(words, total) if is_terminal() else None
        self.timer: threading.Timer | None = None
        self.wait()

    def wait(self) -> None:
        """Print the first line after a while, unless a task inside it begins."""
        if self.bar is None and self.pause == LONGEST / 6:
            self.timer = threading.Timer(FIRST, self._line)
            self.timer.daemon = True
            self.timer.start()

    def stop_waiting(self) -> None:
        """Leave the console to a task inside this one."""
        if self.timer:
            self.timer.cancel()

    def __call__(self, count: int = 1) -> None:
        """Add to what is done."""
        self.done += count
        if self.bar is not None:
            screen.move_bar(self.bar, self.done, self.words, self._counts())
        elif time.monotonic() > self.due:
            self.pause = min(2 * self.pause, LONGEST)
            self.due = time.monotonic() + self.pause
            self._line()

    def end(self) -> None:
        """Print nothing more."""
        self.stop_waiting()
        if self.bar is not None:
            screen.remove_bar(self.bar)

    def _line(self) -> None:
        screen.say(f"{self.parts}: {self._counts() or 'running'}")

    def _counts(self) -> str:
        if self.total is None:
            return f"{self.done:,} {self.unit}" if self.done else ""
        left = (time.monotonic() - self.start) / max(self.done, 1) * (self.total - self.done)
        share = f"{self.done:,} of {self.total:,} {self.unit}"
        return f"{share}, {clock(left)} left" if self.done else share


@contextmanager
def progress(words: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Show the progress of the block on the console; the value is called with what was done.

    A terminal has a bar until the block ends. Otherwise there is a line after 1.5 seconds, and then one at
    least 10 and at most about 60 seconds after the one before, as long as the value is called. The names of
    tasks around this one are put before ``words``.

    Args:
        words: Name of the task.
        total: What is to be done, in ``unit``; None if unknown.
        unit: Plural noun, such as ``'images'``.
    """
    if screen.muted or not prints():
        yield lambda count=1: None
        return
    outer = screen.tasks[-1:]
    for one in outer:
        one.stop_waiting()
    task = Task(words, [*(one.words for one in screen.tasks), words], total, unit)
    screen.tasks.append(task)
    try:
        yield task
    finally:
        task.end()
        screen.tasks.remove(task)
        for one in outer:
            one.wait()


def track(
    items: Iterable[T], words: str, total: int | None, unit: str, count: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """Yield the items, showing progress; each counts for ``count(item)`` of ``total``."""
    with progress(words, total, unit) as advance:
        for item in items:
            yield item
            advance(count(item))


@contextmanager
def muted() -> Iterator[None]:
    """Show no progress of tasks that begin in the block."""
    screen.muted += 1
    try:
        yield
    finally:
        screen.muted -= 1
