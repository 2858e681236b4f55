"""``benchmark.py knn``: the kNN classifier against matrix products and top-k in chunks."""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console

from ssl_ext.errors import UserError
from ssl_ext.evaluation import knn_classify

from .compare import Comparison, compare, show
from .options import add_numbers

OURS, BARE = "knn_classify", "bare matmul + topk"
CLASSES, CHUNK = 10, 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_numbers(parser, ("queries", 10_000, ""), ("bank", 50_000, ""), ("dim", 512, ""), ("k", 200, ""))


def run(console: Console, **settings: Any) -> dict[str, Any]:
    comparison = measure(**settings)
    title = "knn: {queries} queries, bank {bank} x {dim}, k {k}".format(**settings)
    text = f"The classifier takes {comparison.sentence(BARE)} the time of the bare search; "
    show(console, comparison, title, text + "the target is at most 1.2×.")
    return comparison.figures()


def measure(*, queries: int, bank: int, dim: int, k: int, pairs: int) -> Comparison:
    """Time the classification of random features and a bare search on unit vectors.

    Both find the same neighbours in chunks of the same size; ours also normalises and computes votes.
    """
    if k > bank:
        raise UserError(f"--k is {k}; allowed are 1 to --bank, {bank}.")
    generator = torch.Generator().manual_seed(0)
    asked, known = (torch.randn(rows, dim, generator=generator) for rows in (queries, bank))
    labels = torch.randint(CLASSES, (bank,), generator=generator)
    unit_asked, unit_known = F.normalize(asked, dim=1), F.normalize(known, dim=1)

    def bare() -> None:
        for chunk in unit_asked.split(CHUNK):
            torch.topk(chunk @ unit_known.T, k, dim=1)

    def ours() -> None:
        knn_classify(asked, known, labels, num_classes=CLASSES, k=k, chunk_size=CHUNK)

    return compare({BARE: bare, OURS: ours}, reference=OURS, pairs=pairs, items=queries, unit="queries")
