"""``benchmark.py knn``: the classifier against the least it can do, matrix product and topk in chunks."""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console

from ssl_ext.benchmarks.pairs import PEERS, Comparison, add_numbers, add_pairs, compare, say, show
from ssl_ext.benchmarks.step import torch_threads
from ssl_ext.evaluation import knn_classify

HELP = "the kNN classifier and the bare search of neighbours"
OURS, BARE = "knn_classify", "bare matmul + topk"
TARGET = 1.2
CLASSES = 10
CHUNK = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add_numbers(parser, ("queries", 10_000, ""), ("bank", 50_000, ""), ("dim", 512, ""), ("k", 200, ""))
    add_pairs(parser)


def run(console: Console, **settings: Any) -> dict[str, Any]:
    """Measure, print the table and what ours costs more, return the figures."""
    comparison = benchmark_knn(**settings)
    title = "knn: {queries} queries, bank {bank} x {dim}, k {k}".format(**settings)
    show(comparison, title, *PEERS, console=console)
    median, low, high = comparison.speedup(BARE)
    say(
        console,
        f"The classifier takes {median:.3f}× ({low:.3f} … {high:.3f}) the time of the bare search; the "
        f"target is at most {TARGET}×.",
    )
    return comparison.figures()


def benchmark_knn(
    *,
    pairs: int = 5,
    threads: int | None = None,
    queries: int = 10_000,
    bank: int = 50_000,
    dim: int = 512,
    k: int = 200,
) -> Comparison:
    """Time the classification of random features and a bare search on unit vectors; items are queries.

    Both search the same neighbours in chunks of the same size; ours normalises the features and
    weighs the votes besides. The speedup of the bare search is what ours costs more (``TARGET``).

    Raises ValueError for a number below 1, or more neighbours than the bank holds.
    """
    if min(queries, bank, dim, k, 1 if threads is None else threads) < 1 or k > bank:
        raise ValueError(
            "queries, bank, dim, k and threads must be at least 1 and k at most the bank, "
            f"got {queries}, {bank}, {dim}, {k}, {threads}"
        )
    generator = torch.Generator().manual_seed(0)
    asked, known = (torch.randn(rows, dim, generator=generator) for rows in (queries, bank))
    labels = torch.randint(CLASSES, (bank,), generator=generator)
    unit_asked, unit_known = F.normalize(asked, dim=1), F.normalize(known, dim=1)

    def bare() -> None:
        for chunk in unit_asked.split(CHUNK):
            torch.topk(chunk @ unit_known.T, k, dim=1)

    def ours() -> None:
        knn_classify(asked, known, labels, num_classes=CLASSES, k=k, chunk_size=CHUNK)

    calls = {BARE: bare, OURS: ours}
    with torch_threads(threads):
        return compare(calls, reference=OURS, pairs=pairs, warmup=1, items=queries, unit="queries")
