"""``benchmark.py linear``: a linear probe on cached features against the least loop that trains one."""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from ssl_ext.benchmarks.pairs import PEERS, Comparison, add_numbers, add_pairs, compare, say, show
from ssl_ext.benchmarks.step import torch_threads
from ssl_ext.evaluation import linear_probe

HELP = "a linear probe on cached features and the bare loop"
OURS, BARE = "linear_probe", "bare loop"
CLASSES = 10
LR, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-6


def benchmark_linear(
    *,
    pairs: int = 5,
    threads: int | None = None,
    rows: int = 50_000,
    dim: int = 512,
    epochs: int = 100,
    batch_size: int = 256,
) -> Comparison:
    """Time probes by SGD on random features, no image is touched; items are rows times epochs.

    The bare loop has shuffled batches, forward, loss, backward and optimiser step. The probe also follows its
    schedule and stops at a loss that is not finite.

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

    def bare() -> None:
        layer = nn.Linear(dim, CLASSES)
        optimizer = torch.optim.SGD(layer.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
        for _ in range(epochs):
            for batch in torch.randperm(rows, generator=generator).split(batch_size):
                loss = F.cross_entropy(layer(features[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def ours() -> None:
        recipe = dict(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        linear_probe(
            features,
            labels,
            num_classes=CLASSES,
            solver="sgd",
            epochs=epochs,
            batch_size=batch_size,
            **recipe,
        )

    calls = {BARE: bare, OURS: ours}
    with torch_threads(threads):
        return compare(calls, reference=OURS, pairs=pairs, warmup=1, items=rows * epochs, unit="rows")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add_numbers(parser, ("rows", 50_000, ""), ("dim", 512, ""), ("epochs", 100, ""), ("batch-size", 256, ""))
    add_pairs(parser)


def run(console: Console, **settings: Any) -> dict[str, Any]:
    """Measure, print the table and how long a probe takes, return the figures."""
    comparison = benchmark_linear(**settings)
    title = "linear: {epochs} epochs on {rows} x {dim} features, batch {batch_size}".format(**settings)
    show(comparison, title, *PEERS, console=console)
    median, low, high = comparison.speedup(BARE)
    say(
        console,
        f"A probe takes {comparison.median(OURS):.1f} s, {median:.3f}× ({low:.3f} … {high:.3f}) the time of "
        "the bare loop, and no pass over images.",
    )
    return comparison.figures()
