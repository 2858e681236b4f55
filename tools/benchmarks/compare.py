"""Time several callables in turn (A B C A B C …) and compare them round by round.

Times drift on shared machines; the ratio of two consecutive measurements drifts much less. Therefore a
comparison reports the median and range of ratios per round, not a ratio of averages.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ssl_ext.env import installed_version, peak_resident_bytes

from .options import MIN_PAIRS

WARMUP = 1
MIB = 2**20
# Distributions whose versions are reported with a measurement.
PEERS = ("torch", "torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain", "lightly", "pillow")
PEERS += ("opencv-python", "numpy")


@dataclass(frozen=True)
class Comparison:
    """Seconds per call of several callables, one per round.

    ``items`` is the work of one call in ``unit`` (views, images, rows); peaks are bytes of the process.
    """

    reference: str
    seconds: Mapping[str, Sequence[float]]
    items: int
    unit: str
    threads: int
    peak_resident_bytes: int
    peak_device_bytes: int | None

    def median(self, name: str) -> float:
        """Median seconds of one call."""
        return statistics.median(self.seconds[name])

    def rate(self, name: str) -> float:
        """Median throughput in items per second."""
        return self.items / self.median(name)

    def speedup(self, name: str) -> tuple[float, float, float]:
        """Median, minimum and maximum over rounds of the reference's time divided by that of ``name``."""
        return ratio(self.seconds[self.reference], self.seconds[name])

    def sentence(self, name: str) -> str:
        """The speedup as text."""
        return interval(self.speedup(name))

    def figures(self) -> dict[str, Any]:
        """All fields and the speedups as JSON-serialisable values."""
        return dict(asdict(self), speedup={name: self.speedup(name) for name in self.seconds})


def ratio(times: Sequence[float], others: Sequence[float], factor: float = 1) -> tuple[float, float, float]:
    """Median, minimum and maximum over rounds of ``factor · time / other``."""
    ratios = [factor * a / b for a, b in zip(times, others, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def interval(figures: tuple[float, float, float]) -> str:
    """Format a median and its range."""
    return "{:.3f}× ({:.3f} … {:.3f})".format(*figures)


def compare(
    callables: Mapping[str, Callable[[], object]],
    *,
    reference: str,
    pairs: int = MIN_PAIRS,
    warmup: int = WARMUP,
    items: int = 1,
    unit: str = "calls",
) -> Comparison:
    """Call every callable once per round in the given order; time the rounds after ``warmup``.

    Times include the GPU work that a call launches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    gc.collect()
    for turn in range(warmup + pairs):
        for name, call in callables.items():
            elapsed = timed(call)
            if turn >= warmup:
                seconds[name].append(elapsed)
    device = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    threads, resident = torch.get_num_threads(), peak_resident_bytes()
    return Comparison(reference, seconds, items, unit, threads, resident, device)


def now() -> float:
    """Clock in seconds, after synchronising the GPU."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = now()
    call()
    return now() - start


def environment_line() -> str:
    """One line with the machine and the versions of Python and the compared packages."""
    versions = ", ".join(f"{name} {installed_version(name) or 'missing'}" for name in PEERS)
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_processor()}, {os.cpu_count()} cores{device}; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(title: str, *headings: str, caption: str | None = None) -> Table:
    """An empty table: names in the first column, numbers in the others."""
    made = Table(headings[0], title=title, caption=caption)
    for heading in headings[1:]:
        made.add_column(heading, justify="right")
    return made


def peaks_text(resident: int, device: int | None) -> str:
    """Format peak memory, given in bytes."""
    text = f"peak resident memory {resident / MIB:,.0f} MiB"
    return text if device is None else f"{text}, peak device memory {device / MIB:,.0f} MiB"


def show(console: Console, comparison: Comparison, title: str, *sentences: str) -> None:
    """Print a row per callable, then the sentences."""
    rounds = len(comparison.seconds[comparison.reference])
    caption = f"{rounds} interleaved rounds, torch threads: {comparison.threads}\n"
    caption += peaks_text(comparison.peak_resident_bytes, comparison.peak_device_bytes)
    columns = ("median ms", f"{comparison.unit}/s", "speedup: median", "min … max")
    made = table(title, "", *columns, caption=caption)
    for name in comparison.seconds:
        median, low, high = comparison.speedup(name)
        times = f"{comparison.median(name) * 1e3:,.2f}", f"{comparison.rate(name):,.0f}"
        made.add_row(name, *times, f"{median:.2f}×", f"{low:.2f} … {high:.2f}")
    console.print(made)
    for text in sentences:
        console.print(text, soft_wrap=True, highlight=False)
