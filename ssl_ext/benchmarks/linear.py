"""How long a linear probe on cached features takes."""

import time
from dataclasses import dataclass

import torch

from ssl_ext.benchmarks.step import torch_threads
from ssl_ext.env import peak_resident_bytes
from ssl_ext.evaluation import linear_probe

CLASSES = 10


@dataclass(frozen=True)
class Duration:
    """Seconds of one fit, the number of threads torch used, and the peak resident memory in bytes."""

    seconds: float
    threads: int
    peak_resident: int


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
    if min(rows, dim, epochs, batch_size, threads or 1) < 1:
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
