"""Views of small images on a GPU: one kernel does the leading members of a sequence for all views."""

import importlib.util
import math
import os
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Shape
from ssl_ext.augment.blur import GaussianBlur
from ssl_ext.augment.flip import RandomHorizontalFlip
from ssl_ext.augment.jitter import ColorJitter
from ssl_ext.augment.jitter_forms import NAMES, ORDERS
from ssl_ext.augment.photometric import Normalize, RandomGrayscale, RandomSolarize
from ssl_ext.augment.planes import from_planes, full_precision
from ssl_ext.augment.random_crop import RandomCrop
from ssl_ext.augment.resized_crop import RandomResizedCrop

SIDE = 32
"""Largest side, in pixels, of images and views: 64 x 64 pixels do not fit into the registers."""

# The kernel's order. A flip commutes with all but the crop, so one before and one after it suffice.
STAGES: tuple[type[Augmentation], ...] = (
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomCrop,
    ColorJitter,
    RandomGrayscale,
    GaussianBlur,
    RandomSolarize,
    Normalize,
)
CROPS = (RandomResizedCrop, RandomCrop)
NOTHING = 7  # the code of a jitter step without an operation


@dataclass
class Plan:
    """Members done by the kernel, by their position in it, each with its first row of numbers."""

    taken: dict[str, tuple[Augmentation, int]] = field(default_factory=dict)
    rest: list[Augmentation] = field(default_factory=list)

    def row(self, name: str) -> int:
        """Return the first row of numbers of a member, -1 if the sequence lacks it."""
        return self.taken[name][1] if name in self.taken else -1


def plan(sequence: Iterable[Augmentation]) -> Plan:
    """Split a sequence into the leading members that the kernel does and the others."""
    result, row, reached = Plan(), 0, -1
    members = list(sequence)
    for number, member in enumerate(members):
        name, stage = type(member).__name__, STAGES.index(type(member)) if type(member) in STAGES else -1
        if stage == 0:
            name = "before" if reached < 1 else "after"
        elif isinstance(member, CROPS):
            name = "crop"
        late = stage == 0 or stage > reached
        if stage < 0 or not late or name in result.taken:
            result.rest = members[number:]
            break
        result.taken[name] = member, row
        row += member.draws
        reached = max(reached, stage)
    return result


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Return whether Triton can be imported and finds a C compiler; warn if only that is missing."""
    found = importlib.util.find_spec("triton") is not None
    if found and not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        warnings.warn(
            "There is no C compiler (gcc, clang or CC), which Triton needs: views are drawn by separate "
            "operations, which is slower.",
            stacklevel=2,
        )
        return False
    return found


def is_fusible(sequence: Iterable[Augmentation], images: Tensor, shape: Shape) -> bool:
    """Return whether the kernel can do at least the first members, for views of ``shape`` of ``images``."""
    if images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        return False
    sides = (*images.shape[2:], *shape[2:])
    return min(sides) > 0 and max(sides) <= SIDE and bool(plan(sequence).taken)


def fused_views(sequence: Iterable[Augmentation], images: Tensor, numbers: Tensor) -> Tensor:
    """Return the views (V, C, H', W') of uint8 images (N, C, H, W): view v is one of image v % N.

    ``numbers`` (draws, V) are uniform in [0, 1), with the rows of the members in order.
    """
    from ssl_ext.augment.fused_kernel import views_kernel

    own = plan(sequence)
    n, channels, height, width = images.shape
    views = numbers.shape[1]
    crop = own.taken.get("crop", (None, -1))[0]
    shape: Shape = (views, channels, height, width)
    for member, _ in own.taken.values():
        shape = member.output_shape(shape)
    out = torch.empty(shape if not own.rest else (channels, views, *shape[2:]), device=images.device)
    strides = (out.stride(0), out.stride(1)) if not own.rest else (out.stride(1), out.stride(0))
    if views:
        views_kernel[(views,)](
            images.contiguous(), out, numbers, _settings(images.device, _values(own, channels)),
            *_means(own, out), n, *strides, channels, height, width, *shape[2:],
            *(max(16, 1 << (side - 1).bit_length()) for side in (height, width, *shape[2:])),
            **_constants(own, crop, height, width), num_warps=8,
        )  # fmt: skip
    if not own.rest:
        return out
    row = sum(member.draws for member, _ in own.taken.values())
    with full_precision(images.device):
        for member in own.rest:
            params = member._params(numbers[row : row + member.draws].clone(), shape)
            out, shape = member._transform_planes(out, params), member.output_shape(shape)
            row += member.draws
        return from_planes(out)


def _constants(own: Plan, crop: Augmentation | None, height: int, width: int) -> dict[str, int | bool]:
    resized, padded = isinstance(crop, RandomResizedCrop), isinstance(crop, RandomCrop)
    central = crop._central_size(height, width) if isinstance(crop, RandomResizedCrop) else (height, width)
    jitter, jitter_row = own.taken.get("ColorJitter", (None, -1))
    names = list(cast(ColorJitter, jitter).ranges) if jitter is not None else []
    factors = [jitter_row + 2 + names.index(name) if name in names else 0 for name in NAMES]
    blur, normalize = (own.taken.get(name, (None, -1))[0] for name in ("GaussianBlur", "Normalize"))
    return dict(
        BEFORE=own.row("before"),
        CROP=own.row("crop") if resized else -1,
        CENTRAL_H=central[0],
        CENTRAL_W=central[1],
        PADDED_CROP=own.row("crop") if padded else -1,
        PADDING=crop.padding if isinstance(crop, RandomCrop) else 0,
        REFLECT=isinstance(crop, RandomCrop) and crop.padding_mode == "reflect",
        AFTER=own.row("after"),
        JITTER=jitter_row,
        **{f"F{k}": row for k, row in enumerate(factors)},
        GRAY=own.row("RandomGrayscale"),
        BLUR=own.row("GaussianBlur"),
        REACH=blur.kernel_size // 2 if isinstance(blur, GaussianBlur) else 0,
        SOLARIZE=own.row("RandomSolarize"),
        MEANS=len(normalize.mean) if isinstance(normalize, Normalize) else 0,
    )


def _means(own: Plan, out: Tensor) -> tuple[Tensor, Tensor]:
    normalize = own.taken.get("Normalize", (None, -1))[0]
    if not isinstance(normalize, Normalize):
        return out, out
    return normalize.mean.to(out.device, non_blocking=True), normalize.std.to(out.device, non_blocking=True)


def _values(own: Plan, channels: int) -> tuple[float, ...]:
    """Return the table of settings in the order of the kernel's constants."""
    member = {name: taken for name, (taken, _) in own.taken.items()}
    jitter, crop, blur = member.get("ColorJitter"), member.get("crop"), member.get("GaussianBlur")
    ranges = jitter.ranges if isinstance(jitter, ColorJitter) else {}
    colours = tuple(name for name in NAMES if name in ranges and (channels == 3 or name in NAMES[:2]))
    box = (0.0, 0.0, 0.0, 0.0)
    if isinstance(crop, RandomResizedCrop):
        box = (*_span(*crop.scale), *_span(*map(math.log, crop.ratio)))
    factors = [value for name in NAMES for value in _span(*ranges.get(name, (0.0, 0.0)))]
    sigma = _span(*blur.sigma) if isinstance(blur, GaussianBlur) else (0.0, 0.0)
    p = {name: float(getattr(taken, "p", 0.0)) for name, taken in member.items()}
    solarize = member.get("RandomSolarize")
    threshold = solarize.threshold if isinstance(solarize, RandomSolarize) else 0.0
    return (
        *_codes(colours), *box, p.get("before", 0.0), p.get("after", 0.0),
        p.get("ColorJitter", 0.0), *factors, p.get("RandomGrayscale", 0.0),
        p.get("GaussianBlur", 0.0), *sigma, p.get("RandomSolarize", 0.0), threshold,
    )  # fmt: skip


@lru_cache(maxsize=32)
def _codes(colours: tuple[str, ...]) -> tuple[int, ...]:
    """Return codes of the 24 orders: three bits per operation, the first operation in the lowest bits."""
    return tuple(
        sum((o if NAMES[o] in colours else NOTHING) << (3 * step) for step, o in enumerate(order))
        for order in ORDERS
    )


def _span(low: float, high: float) -> tuple[float, float]:
    return low, high - low


@lru_cache(maxsize=64)
def _settings(device: torch.device, values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(device)
