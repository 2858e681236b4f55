"""Time several callables in turn (A B C A B C …) and compare them pair by pair.

Times drift on shared machines; a ratio of two neighbouring measurements drifts much less. Every comparison
therefore reports the median and the range of the ratios, not the ratio of two averages.
"""

import argparse
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ssl_ext.env import peak_resident_bytes

MIN_PAIRS = 5
# Whose versions belong beside a measurement.
PEERS = ("torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain", "pillow", "numpy")


def add_pairs(parser: argparse.ArgumentParser, default: int = MIN_PAIRS) -> None:
    """Add the option ``--pairs``."""
    parser.add_argument(
        "--pairs", type=int, default=default, help=f"interleaved rounds, at least {MIN_PAIRS} ({default})"
    )


def add_numbers(parser: argparse.ArgumentParser, *options: tuple[str, int, str]) -> None:
    """Add options that are whole numbers: name, default and what it is."""
    for name, default, what in options:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} ({default})".strip())


@dataclass(frozen=True)
class Comparison:
    """Seconds per call of several callables, measured in turn.

    ``seconds`` maps names to one time per round; ``items`` is the work of one call (views, images, steps);
    ``threads`` the number torch used.
    ``peak_resident`` and ``peak_device`` are bytes, of the whole process up to the end of the measurement.
    """

    reference: str
    seconds: Mapping[str, tuple[float, ...]]
    items: int
    unit: str
    threads: int
    peak_resident: int
    peak_device: int | None

    def median(self, name: str) -> float:
        """Return the median seconds of one call."""
        return statistics.median(self.seconds[name])

    def rate(self, name: str) -> float:
        """Return the median throughput, in items per second."""
        return self.items / self.median(name)

    def speedups(self, name: str) -> tuple[float, ...]:
        """Return how many times faster ``name`` was than the reference, in every round."""
        pairs = zip(self.seconds[self.reference], self.seconds[name], strict=True)
        return tuple(theirs / ours for theirs, ours in pairs)

    def speedup(self, name: str) -> tuple[float, float, float]:
        """Return median, smallest and largest of the speedups over the reference."""
        speedups = self.speedups(name)
        return statistics.median(speedups), min(speedups), max(speedups)

    def figures(self) -> dict[str, Any]:
        """Everything measured, as plain containers; speedups are median, smallest and largest."""
        return dict(
            reference=self.reference,
            seconds={name: list(times) for name, times in self.seconds.items()},
            speedup={name: self.speedup(name) for name in self.seconds},
            items=self.items,
            unit=self.unit,
            threads=self.threads,
            peak_resident_bytes=self.peak_resident,
            peak_device_bytes=self.peak_device,
        )


def compare(
    callables: Mapping[str, Callable[[], object]],
    *,
    reference: str,
    pairs: int = 7,
    warmup: int = 2,
    items: int = 1,
    unit: str = "calls",
) -> Comparison:
    """Call every callable once per round, in the given order, after ``warmup`` rounds, and time the calls.

    A call includes what it left in the queue of a GPU. Raises ValueError for fewer than two callables, an
    unknown reference, fewer than 5 pairs or no warm-up.

    >>> result = compare({"sum": lambda: sum(range(99)), "none": lambda: None}, reference="sum", pairs=5)
    >>> len(result.speedups("none")), result.speedup("sum")
    (5, (1.0, 1.0, 1.0))
    """
    if len(callables) < 2 or reference not in callables:
        raise ValueError(
            f"A comparison needs two callables or more with the reference {reference!r} among them, "
            f"got {list(callables)}"
        )
    if pairs < MIN_PAIRS or warmup < 1:
        raise ValueError(
            f"pairs must be at least {MIN_PAIRS} and warmup at least 1, got {pairs} and {warmup}"
        )
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    gc.collect()
    for turn in range(warmup + pairs):
        for name, call in callables.items():
            elapsed = _time(call)
            if turn >= warmup:
                seconds[name].append(elapsed)
    return Comparison(
        reference=reference,
        seconds={name: tuple(values) for name, values in seconds.items()},
        items=items,
        unit=unit,
        threads=torch.get_num_threads(),
        peak_resident=peak_resident_bytes(),
        peak_device=torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None,
    )


def _time(call: Callable[[], object]) -> float:
    _finish()
    start = time.perf_counter()
    call()
    _finish()
    return time.perf_counter() - start


def _finish() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def environment_line(*distributions: str) -> str:
    """Return one line with the machine and the versions of Python, torch and others."""
    names = ("torch", *distributions)
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_processor()}, {os.cpu_count()} cores{device}; Python {platform.python_version()}, {versions}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def comparison_table(comparison: Comparison, title: str) -> Table:
    """Return a table: one row per callable, the caption tells the rounds and the peak memory."""
    rounds = len(comparison.seconds[comparison.reference])
    caption = (
        f"{rounds} interleaved rounds, torch threads: {comparison.threads}\n"
        f"peak resident memory {_mib(comparison.peak_resident)}"
    )
    if comparison.peak_device is not None:
        caption += f", peak device memory {_mib(comparison.peak_device)}"
    table = Table(title=title, caption=caption)
    table.add_column("what")
    for heading in ("median ms", f"{comparison.unit}/s", "speedup: median", "min … max"):
        table.add_column(heading, justify="right")
    for name in comparison.seconds:
        median, low, high = comparison.speedup(name)
        table.add_row(
            name,
            f"{comparison.median(name) * 1e3:,.2f}",
            f"{comparison.rate(name):,.0f}",
            f"{median:.2f}×",
            f"{low:.2f} … {high:.2f}",
        )
    return table


def show(comparison: Comparison, title: str, *distributions: str, console: Console | None = None) -> None:
    """Write the table and the line on the environment to the console."""
    console = console or Console()
    console.print(comparison_table(comparison, title))
    say(console, environment_line(*distributions))


def say(console: Console, text: str) -> None:
    """Write a sentence as it is, however narrow the console."""
    console.print(text, soft_wrap=True, highlight=False)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
