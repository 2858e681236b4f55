"""``benchmark.py augment``: batched augmentations against the peers' transforms per image."""

import argparse
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from rich.console import Console
from torchvision import transforms as tv

from ssl_ext import augment
from ssl_ext.augment import AugmentationSequence
from ssl_ext.errors import UserError
from ssl_ext.models.data_preprocessor import build_augmentation

from .compare import Comparison, compare, show
from .options import CONFIGS, add_numbers, whole

SEQUENCES = ("simclr", "simclr-without-blur")
# Sequences for medical images, and the side of the images in pixels.
MEDICAL = {name: CONFIGS / f"_base_/views/medical-{name}.py" for name in ("nat", "short", "nov", "grey")}
MEDICAL_SIZE = 28
VIEWS = 2
SCALE = (0.2, 1.0)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
JITTER_P, GRAY_P, BLUR_P = 0.8, 0.2, 0.5
SIGMA = (0.1, 2.0)

OURS, MMPRETRAIN, TORCHVISION = "ssl_ext batched", "mmpretrain MultiView", "torchvision PIL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = " ".join((*SEQUENCES, *MEDICAL))
    parser.add_argument("--sequence", default="simclr", metavar="NAME", help=f"{names} (simclr)")
    text = f"side of the images in pixels (32; {MEDICAL_SIZE} in {' '.join(MEDICAL)})"
    parser.add_argument("--size", type=whole(1), help=text)
    add_numbers(parser, ("batch-size", 512, ""), pairs=7)


def run(console: Console, *, sequence: str, size: int | None, batch_size: int, pairs: int) -> dict[str, Any]:
    if sequence not in (*SEQUENCES, *MEDICAL):
        raise UserError(f"--sequence is {sequence!r}; allowed are {', '.join((*SEQUENCES, *MEDICAL))}.")
    transforms = Config.fromfile(MEDICAL[sequence]).views[0].transforms if sequence in MEDICAL else sequence
    size = size or (MEDICAL_SIZE if sequence in MEDICAL else 32)
    comparison = measure(transforms, batch_size=batch_size, size=size, pairs=pairs)
    show(console, comparison, f"augment: batch {batch_size}, {size} px, {sequence}")
    return comparison.figures()


def measure(sequence: str | Sequence[dict], *, batch_size: int, size: int, pairs: int) -> Comparison:
    """Time drawing two views of every image of a batch in one process; items are views.

    ``sequence`` is a name, or configs of augmentations. SimCLR's are crop, flip, jitter, grayscale and blur,
    with MMPretrain's pipeline as the reference; for configs the reference is torchvision on Pillow images
    (MMPretrain is omitted, as it equalises RGB instead of luma). Probabilities and ranges are equal in all.
    Each ends with one float32 batch per view in [0, 1], MMPretrain's by its own ``PackInputs``.

    Raises:
        ValueError: An augmentation without a torchvision equivalent.
    """
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), np.uint8)
    calls, transforms, reference = {}, sequence, TORCHVISION
    if isinstance(transforms, str):
        blur, reference = transforms == "simclr", MMPRETRAIN
        calls[MMPRETRAIN] = _mmpretrain(images, size, blur)
        transforms = simclr_views(size, blur)
    views = build_augmentation(transforms)
    calls |= {OURS: _ours(images, views), TORCHVISION: _torchvision(images, views)}
    items = VIEWS * batch_size
    return compare(calls, reference=reference, pairs=pairs, warmup=2, items=items, unit="views")


def kernel_size(size: int) -> int:
    """SimCLR's blur kernel: a tenth of the image side, odd, at least 3."""
    return max(3, size // 10 // 2 * 2 + 1)


def simclr_views(size: int, blur: bool) -> list[dict]:
    """Configs of the augmentations of a view of SimCLR's sequence."""
    operations = [
        dict(type="RandomResizedCrop", scale=SCALE),
        dict(type="RandomHorizontalFlip", p=0.5),
        dict(type="ColorJitter", **JITTER, p=JITTER_P),
        dict(type="RandomGrayscale", p=GRAY_P),
    ]
    if blur:
        operations.append(dict(type="GaussianBlur", kernel_size=kernel_size(size), sigma=SIGMA, p=BLUR_P))
    return operations


def _ours(images: np.ndarray, sequence: AugmentationSequence) -> Callable[[], list[torch.Tensor]]:
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    generator = torch.Generator().manual_seed(0)
    return lambda: [sequence(batch, generator) for _ in range(VIEWS)]


def _mmpretrain(images: np.ndarray, size: int, blur: bool) -> Callable[[], list[torch.Tensor]]:
    pipeline, pack = mmpretrain_views(size, blur)

    def call() -> list[torch.Tensor]:
        samples = [pack(pipeline({"img": image, "img_shape": image.shape[:2]})) for image in images]
        views = zip(*(sample["inputs"] for sample in samples), strict=True)
        return [torch.stack(view).float().div_(255) for view in views]

    return call


def mmpretrain_views(size: int, blur: bool) -> tuple[Callable[[dict], dict], Callable[[dict], dict]]:
    """MMPretrain's transforms of one image: two views of SimCLR's sequence, and packing them."""
    # Imported here because it takes seconds.
    from mmpretrain.registry import TRANSFORMS

    # A registry imports its classes automatically only while its scope is the default.
    TRANSFORMS.import_from_location()

    # OpenCV is MMPretrain's faster backend.
    jitter = TRANSFORMS.build(dict(type="ColorJitter", backend="cv2", **JITTER))
    operations = [
        dict(type="RandomResizedCrop", scale=size, crop_ratio_range=SCALE, backend="cv2"),
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomApply", prob=JITTER_P, transforms=jitter),
        dict(type="RandomGrayscale", prob=GRAY_P, keep_channels=True),
    ]
    if blur:
        # Without an infinite deviation it would always use the largest radius.
        strength = dict(magnitude_range=SIGMA, magnitude_std="inf")
        operations.append(dict(type="GaussianBlur", prob=BLUR_P, **strength))
    members = [TRANSFORMS.build(operation) for operation in operations]
    pipeline = TRANSFORMS.build(dict(type="MultiView", num_views=VIEWS, transforms=[members]))
    return pipeline, TRANSFORMS.build(dict(type="PackInputs"))


def _torchvision(images: np.ndarray, sequence: AugmentationSequence) -> Callable[[], list[torch.Tensor]]:
    operations = [_torchvision_operation(operation, images.shape[1]) for operation in sequence]
    pipeline = tv.Compose([*operations, tv.ToTensor()])
    pillow = [Image.fromarray(image) for image in images]
    return lambda: [torch.stack([pipeline(image) for image in pillow]) for _ in range(VIEWS)]


def _torchvision_operation(ours: augment.Augmentation, size: int) -> Callable:
    match ours:
        case augment.RandomResizedCrop():
            return tv.RandomResizedCrop(ours.size or size, ours.scale, ours.ratio)
        case augment.RandomHorizontalFlip():
            return tv.RandomHorizontalFlip(ours.p)
        case augment.RandomGrayscale():
            return tv.RandomGrayscale(ours.p)
        case augment.ColorJitter():
            operation: Callable = tv.ColorJitter(**ours.ranges)
        case augment.GaussianBlur():
            # Pillow's approximation is several times faster than torchvision's blur.
            operation = partial(_blur_pillow, ours.sigma)
        case augment.RandomEqualize():
            operation = _equalize_pillow
        case augment.RandomSharpness():
            operation = partial(_sharpen_pillow, ours.factor)
        case _:
            raise ValueError(
                f"sequence has a {type(ours).__name__}, which has no torchvision equivalent here"
            )
    return operation if ours.p == 1 else tv.RandomApply([operation], p=ours.p)


def _blur_pillow(sigma: tuple[float, float], image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(*sigma)))


def _equalize_pillow(image: Image.Image) -> Image.Image:
    luma, *chroma = image.convert("YCbCr").split()
    return Image.merge("YCbCr", (ImageOps.equalize(luma), *chroma)).convert("RGB")


def _sharpen_pillow(factor: tuple[float, float], image: Image.Image) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(random.uniform(*factor))
