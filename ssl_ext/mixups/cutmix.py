"""CutMix (Yun et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from .mixed import blend, check_pairs, shares, uniform


def cutmix(
    images: Tensor, lam: Tensor | float, permutation: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """A box of sample j in sample i: sides √(1 − λ) of the image's, centre uniform, cut at the border.

    Every sample has its own centre.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i before the box is cut at the border.
        permutation: (N,) int64, j of each i.
        generator: Source of the centres.

    Returns:
        Mixtures (N, C, H, W), and the share (N,) of the pixels that sample i has in the end.

    Raises:
        ValueError: λ out of range, or shapes that do not fit.
    """
    check_pairs(images, permutation)
    lam = shares(lam, len(images), images.device)
    height, width = images.shape[2:]
    place = uniform((len(images), 2), generator, images.device)
    # The product may round up to the size itself.
    axes = [(place[:, axis] * side).long().clamp(max=side - 1) for axis, side in enumerate((height, width))]
    centres = torch.stack(axes, 1)
    return blend(images, images[permutation], outside_box(centres, lam, height, width))


def outside_box(centres: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """Masks (N, 1, H, W), 0 in a box with sides √(1 − λ) of the image's around a centre (N, 2), else 1."""
    ratio = (1 - lam).clamp(min=0).sqrt()
    box = [
        inside(centre - side // 2, side, pixels)
        for centre, side, pixels in (
            (centres[:, axis], (ratio * pixels).round().long(), pixels)
            for axis, pixels in enumerate((height, width))
        )
    ]
    return 1 - (box[0][:, :, None] & box[1][:, None, :]).float().unsqueeze(1)


def inside(start: Tensor, length: Tensor, pixels: int) -> Tensor:
    """(N, pixels) bool, True from ``start`` (N,) on for ``length`` (N,) pixels, as far as there are any."""
    place = torch.arange(pixels, device=start.device)
    return (place >= start[:, None]) & (place < (start + length)[:, None])
