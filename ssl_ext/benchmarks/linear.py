"""``benchmark.py linear``: how long a linear probe on cached features takes."""

import argparse
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console

from ssl_ext.benchmarks.pairs import PEERS, add_numbers, environment_line, say
from ssl_ext.benchmarks.step import torch_threads
from ssl_ext.env import peak_resident_bytes
from ssl_ext.evaluation import linear_probe

HELP = "a linear probe on cached features"
CLASSES = 10


@dataclass(frozen=True)
class Duration:
    """Seconds of one fit, the number of threads torch used, and the peak resident memory in bytes."""

    seconds: float
    threads: int
    peak_resident: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add_numbers(parser, ("rows", 50_000, ""), ("dim", 512, ""), ("epochs", 100, ""), ("batch-size", 256, ""))


def run(console: Console, **settings: Any) -> dict[str, Any]:
    """Measure, say how long it took, return the figures."""
    took = benchmark_linear(**settings)
    say(
        console,
        "linear: {epochs} epochs on {rows} x {dim} features, batch {batch_size}".format(**settings)
        + f", threads {took.threads}: {took.seconds:.1f} s, peak resident memory "
        f"{took.peak_resident / 2**20:,.0f} MiB\n{environment_line(*PEERS)}",
    )
    return asdict(took)


def benchmark_linear(
    *,
    threads: int | None = None,
    rows: int = 50_000,
    dim: int = 512,
    epochs: int = 100,
    batch_size: int = 256,
) -> Duration:
    """Time one probe by SGD on random features; no image is touched.

    Raises ValueError for a number below 1.
    """
    if min(rows, dim, epochs, batch_size, 1 if threads is None else threads) < 1:
        raise ValueError(
            "rows, dim, epochs, batch_size and threads must be at least 1, "
            f"got {rows}, {dim}, {epochs}, {batch_size}, {threads}"
        )
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, dim, generator=generator)
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    with torch_threads(threads):
        start = time.perf_counter()
        linear_probe(
            features, labels, num_classes=CLASSES, solver="sgd", epochs=epochs, batch_size=batch_size
        )
        return Duration(time.perf_counter() - start, torch.get_num_threads(), peak_resident_bytes())
