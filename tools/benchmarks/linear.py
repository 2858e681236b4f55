"""``benchmark.py linear``: a linear probe on cached features against a minimal training loop."""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from ssl_ext.evaluation import linear_probe

from .compare import Comparison, compare, show
from .options import add_numbers

OURS, BARE = "linear_probe", "bare loop"
CLASSES = 10
SGD = dict(lr=1e-3, momentum=0.9, weight_decay=1e-6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_numbers(parser, ("rows", 50_000, ""), ("dim", 512, ""), ("epochs", 100, ""), ("batch-size", 256, ""))


def run(console: Console, **settings: Any) -> dict[str, Any]:
    comparison = measure(**settings)
    title = "linear: {epochs} epochs on {rows} x {dim} features, batch {batch_size}".format(**settings)
    text = f"A probe takes {comparison.median(OURS):.1f} s, {comparison.sentence(BARE)} the time of the bare "
    show(console, comparison, title, text + "loop, and no pass over images.")
    return comparison.figures()


def measure(*, rows: int, dim: int, epochs: int, batch_size: int, pairs: int) -> Comparison:
    """Time probes by SGD on random features.

    The bare loop has shuffled batches, forward, loss, backward and optimiser step; the probe also applies a
    learning rate schedule and checks that the loss is finite.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, dim, generator=generator)
    labels = torch.randint(CLASSES, (rows,), generator=generator)

    def bare() -> None:
        layer = nn.Linear(dim, CLASSES)
        optimizer = torch.optim.SGD(layer.parameters(), **SGD)
        for _ in range(epochs):
            for batch in torch.randperm(rows, generator=generator).split(batch_size):
                loss = F.cross_entropy(layer(features[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def ours() -> None:
        recipe = dict(SGD, solver="sgd", epochs=epochs, batch_size=batch_size)
        linear_probe(features, labels, num_classes=CLASSES, **recipe)

    calls = {BARE: bare, OURS: ours}
    return compare(calls, reference=OURS, pairs=pairs, items=rows * epochs, unit="rows")
