"""Timing of the views of a batch on a GPU: here, eager and captured, and in kornia."""

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

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def trimix_views(
    batch_size: int = 256, side: int = 32, device: str = "cuda", views: int = 2, *, compiled: bool = False
) -> Callable[[], list[torch.Tensor]]:
    """Return a function that draws TriMix's normalised views of a uint8 batch on the device.

    With ``compiled`` the jitter of images above 32 px is compiled, as by ``--compile``.
    """
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    if compiled:
        jitter.compile_steps()
    sequence = AugmentationSequence(
        [
            RandomResizedCrop(scale=(0.2, 1.0)),
            RandomHorizontalFlip(),
            jitter,
            RandomGrayscale(0.2),
            Normalize(MEAN, STD),
        ]
    ).to(device)
    images = torch.randint(0, 256, (batch_size, 3, side, side), dtype=torch.uint8, device=device)
    return lambda: draw_views(sequence, images, views)


def kornia_views(
    batch_size: int = 256, side: int = 32, device: str = "cuda", views: int = 2
) -> Callable[[], list[torch.Tensor]]:
    """Return a function like that of :func:`trimix_views`, with kornia's operations.

    Its crop is not antialiased, its hue and saturation are those of its own jitter, and the operations of the
    jitter have one random order per batch.
    """
    from kornia import augmentation as kornia

    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    sequence = kornia.AugmentationSequential(
        kornia.RandomResizedCrop(
            (side, side), scale=(0.2, 1.0), cropping_mode="resample", align_corners=False
        ),
        kornia.RandomHorizontalFlip(),
        kornia.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        kornia.RandomGrayscale(p=0.2),
        kornia.Normalize(mean, std),
    ).to(device)
    images = torch.randint(0, 256, (batch_size, 3, side, side), dtype=torch.uint8, device=device)
    return lambda: [sequence(images / 255) for _ in range(views)]


def time_views(
    batch_size: int = 256,
    side: int = 32,
    *,
    views: int = 2,
    compiled: bool = False,
    rounds: int = 10,
    calls: int = 50,
) -> dict[str, float | str]:
    """Return median milliseconds of the views of a batch on the current GPU, eager and as a CUDA graph.

    ``eager_ms`` and ``captured_ms`` include host time; ``device_ms`` is one replay between two CUDA events;
    ``kornia_ms`` is the eager time of :func:`kornia_views`, or why there is none.
    """
    draw = trimix_views(batch_size, side, views=views, compiled=compiled)
    for _ in range(3):
        draw()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        draw()
    figures: dict[str, float | str] = {
        "eager_ms": _milliseconds(draw, rounds, calls),
        "captured_ms": _milliseconds(graph.replay, rounds, calls),
        "device_ms": _device_milliseconds(graph.replay, rounds),
    }
    try:
        theirs = kornia_views(batch_size, side, views=views)
        figures["kornia_ms"] = _milliseconds(theirs, rounds, calls=10)
    except ImportError as error:
        figures["kornia_ms"] = f"{error}"
    return figures


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
