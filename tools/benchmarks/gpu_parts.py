"""Separate timings on a GPU: views of a batch, eager and captured, and the linear probe."""

import time
from collections.abc import Callable
from statistics import median

import torch

from ssl_ext.augment import (
    AugmentationSequence,
    ColorJitter,
    Normalize,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    draw_views,
)
from ssl_ext.evaluation import ProbeData, linear_probes

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def trimix_views(
    batch_size: int = 256, side: int = 32, device: str = "cuda", views: int = 2
) -> Callable[[], list[torch.Tensor]]:
    """Return a function that draws TriMix's normalised views of a uint8 batch on the device."""
    sequence = AugmentationSequence(
        [
            RandomResizedCrop(scale=(0.2, 1.0)),
            RandomHorizontalFlip(),
            ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            RandomGrayscale(0.2),
            Normalize(MEAN, STD),
        ]
    ).to(device)
    images = torch.randint(0, 256, (batch_size, 3, side, side), dtype=torch.uint8, device=device)
    return lambda: draw_views(sequence, images, views)


def time_views(
    batch_size: int = 256, side: int = 32, *, views: int = 2, rounds: int = 10, calls: int = 50
) -> dict[str, float]:
    """Return median milliseconds of the views of a batch on the current GPU, eager and as a CUDA graph.

    ``eager`` and ``captured`` include host time; ``device`` is one replay between two CUDA events.
    """
    draw = trimix_views(batch_size, side, views=views)
    for _ in range(3):
        draw()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        draw()
    return {
        "eager": _milliseconds(draw, rounds, calls),
        "captured": _milliseconds(graph.replay, rounds, calls),
        "device": _device_milliseconds(graph.replay, rounds),
    }


def time_probes(
    rows: int = 50_000, dim: int = 512, *, epochs: int = 100, probes: int = 1, device: str = "cuda"
) -> float:
    """Return seconds of ``probes`` linear probes by SGD, trained together, on features on the device."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, dim, generator=generator).to(device)
    labels = torch.randint(10, (rows,), generator=generator).to(device)
    data = [ProbeData(features, labels, seed=seed) for seed in range(probes)]
    linear_probes(data, num_classes=10, epochs=2)
    _wait(device)
    start = time.perf_counter()
    linear_probes(data, num_classes=10, epochs=epochs)
    _wait(device)
    return time.perf_counter() - start


def _milliseconds(call: Callable[[], object], rounds: int, calls: int) -> float:
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / calls * 1e3)
    return median(times)


def _device_milliseconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return median(times)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
