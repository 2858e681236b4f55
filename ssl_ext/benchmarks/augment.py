"""Batched augmentations against the per-sample pipelines of mmpretrain and torchvision."""

import random
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision import transforms as tv

from ssl_ext import augment
from ssl_ext.benchmarks.pairs import Comparison, compare

SEQUENCES = ("simclr", "simclr-without-blur")
VIEWS = 2
SCALE = (0.2, 1.0)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
JITTER_P, GRAY_P, BLUR_P = 0.8, 0.2, 0.5
SIGMA = (0.1, 2.0)

OURS, MMPRETRAIN, TORCHVISION = "ssl_ext batched", "mmpretrain MultiView", "torchvision PIL"


def benchmark_augment(
    *,
    pairs: int = 7,
    threads: int | None = None,
    batch_size: int = 512,
    size: int = 32,
    sequence: str = "simclr",
) -> Comparison:
    """Time two views of every image of a batch, all three ways in one process; items are views.

    The operations, probabilities and ranges are the same: crop, flip, jitter, grayscale, and blur in
    'simclr'. Each way ends with the same product, one float32 batch per view in [0, 1]; mmpretrain's gets
    there through its own ``PackInputs``. ``threads`` is torch's number of threads, by default unchanged; it
    hardly matters to the peers.

    Raises ValueError for an unknown sequence, or a number below 1.
    """
    if sequence not in SEQUENCES:
        raise ValueError(f"sequence must be one of {', '.join(SEQUENCES)}, got {sequence!r}")
    if min(batch_size, size, threads or 1) < 1:
        raise ValueError(
            f"batch_size, size and threads must be at least 1, got {batch_size}, {size}, {threads}"
        )
    blur = sequence == "simclr"
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), np.uint8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        return compare(
            {
                MMPRETRAIN: _mmpretrain(images, size, blur),
                OURS: _ours(images, size, blur),
                TORCHVISION: _torchvision(images, size, blur),
            },
            reference=MMPRETRAIN,
            pairs=pairs,
            items=VIEWS * batch_size,
            unit="views",
        )
    finally:
        torch.set_num_threads(before)


def kernel_size(size: int) -> int:
    """Return SimCLR's blur kernel: a tenth of the image side, odd, at least 3.

    >>> kernel_size(32), kernel_size(224)
    (3, 23)
    """
    return max(3, size // 10 // 2 * 2 + 1)


def _ours(images: np.ndarray, size: int, blur: bool) -> Callable[[], list[torch.Tensor]]:
    operations: list[augment.Augmentation] = [
        augment.RandomResizedCrop(size, scale=SCALE),
        augment.RandomHorizontalFlip(),
        augment.ColorJitter(**JITTER, p=JITTER_P),
        augment.RandomGrayscale(GRAY_P),
    ]
    if blur:
        operations.append(augment.GaussianBlur(kernel_size(size), SIGMA, p=BLUR_P))
    views = augment.AugmentationSequence(operations)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    generator = torch.Generator().manual_seed(0)
    return lambda: [views(batch, generator) for _ in range(VIEWS)]


def _mmpretrain(images: np.ndarray, size: int, blur: bool) -> Callable[[], list[torch.Tensor]]:
    # Imported here: the import takes seconds, and only this peer needs it.
    from mmpretrain.registry import TRANSFORMS

    # By itself a registry imports its classes only while its own scope is the default.
    TRANSFORMS.import_from_location()

    # Its faster backend in both places.
    jitter = TRANSFORMS.build(dict(type="ColorJitter", backend="cv2", **JITTER))
    operations = [
        dict(type="RandomResizedCrop", scale=size, crop_ratio_range=SCALE, backend="cv2"),
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomApply", prob=JITTER_P, transforms=jitter),
        dict(type="RandomGrayscale", prob=GRAY_P, keep_channels=True),
    ]
    if blur:
        # Without the infinite deviation it would always use the largest radius.
        strength = dict(magnitude_range=SIGMA, magnitude_std="inf")
        operations.append(dict(type="GaussianBlur", prob=BLUR_P, **strength))
    # Members are built here, by name in mmpretrain's registry, whatever the default scope is.
    members = [TRANSFORMS.build(operation) for operation in operations]
    pipeline = TRANSFORMS.build(dict(type="MultiView", num_views=VIEWS, transforms=[members]))
    pack = TRANSFORMS.build(dict(type="PackInputs"))

    def call() -> list[torch.Tensor]:
        samples = [pack(pipeline({"img": image, "img_shape": image.shape[:2]})) for image in images]
        views = zip(*(sample["inputs"] for sample in samples), strict=True)
        return [torch.stack(view).float().div_(255) for view in views]

    return call


def _torchvision(images: np.ndarray, size: int, blur: bool) -> Callable[[], list[torch.Tensor]]:
    operations = [
        tv.RandomResizedCrop(size, scale=SCALE),
        tv.RandomHorizontalFlip(),
        tv.RandomApply([tv.ColorJitter(**JITTER)], p=JITTER_P),
        tv.RandomGrayscale(GRAY_P),
    ]
    if blur:
        operations.append(tv.RandomApply([_blur_pillow], p=BLUR_P))
    pipeline = tv.Compose([*operations, tv.ToTensor()])
    pillow = [Image.fromarray(image) for image in images]
    return lambda: [torch.stack([pipeline(image) for image in pillow]) for _ in range(VIEWS)]


def _blur_pillow(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(*SIGMA)))
