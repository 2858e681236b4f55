"""Luma and chroma (YCbCr) of 8-bit colours, bit-exact with Pillow's integer arithmetic.

Equalisation counts integer levels of luma, so another rounding would change the result. As in Pillow,
products are rounded to 64ths and sums are truncated to integers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

BITS = 6
LUMA = (0.299, 0.587, 0.114)
BLUENESS = (-0.16874, -0.33126, 0.5)
REDNESS = (0.5, -0.41869, -0.08131)


def luma(levels: Tensor) -> Tensor:
    """Return Y (N, H, W), int32, of levels (3, N, H, W), float32, whole numbers in 0 … 255.

    If all channels of a sample are equal, Y is that channel; Pillow's conversion would change some levels by
    one.
    """
    red, green, blue = levels
    gray = (red.eq(green) & green.eq(blue)).flatten(1).all(1)
    return torch.where(gray.view(-1, 1, 1), red.int(), _weighted(levels, LUMA))


def color_offsets(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the offsets of red, green and blue from Y, each (N, H, W), int32, for levels (3, N, H, W)."""
    blueness, redness = _weighted(levels, BLUENESS), _weighted(levels, REDNESS)
    red = _weighted((redness,), (1.402,))
    green = _weighted((blueness, redness), (-0.34414, -0.71414))
    return red, green, _weighted((blueness,), (1.772,))


def _weighted(planes: Iterable[Tensor], weights: tuple[float, ...]) -> Tensor:
    # As in Pillow, casts truncate towards zero and shifts round down.
    total, *others = (
        (plane * (weight * (1 << BITS))).add_(0.5).int()
        for plane, weight in zip(planes, weights, strict=True)
    )
    for term in others:
        total += term
    return total.bitwise_right_shift_(BITS)
