"""CutMix (Yun et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from .mixed import blend, check_pairs, shares, uniform


def cutmix(
    images: Tensor, lam: Tensor | float, permutation: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Paste a box of sample j into sample i; box sides are √(1 − λ) of the image's, the centre is uniform.

    Every sample has its own centre. The box is clipped at the border.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i before the box is clipped.
        permutation: (N,) int64, the partner j of each sample i.
        generator: Random generator of the centres.

    Returns:
        Mixtures (N, C, H, W), and the final pixel share (N,) of sample i.

    Raises:
        ValueError: λ out of range, or shapes that do not match.
    """
    check_pairs(images, permutation)
    lam = shares(lam, len(images), images.device)
    height, width = images.shape[2:]
    place = uniform((len(images), 2), generator, images.device)
    # The product may round up to the size.
    axes = [(place[:, axis] * side).long().clamp(max=side - 1) for axis, side in enumerate((height, width))]
    centres = torch.stack(axes, 1)
    return blend(images, images[permutation], outside_box(centres, lam, height, width))


def outside_box(centres: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """Masks (N, 1, H, W): 0 in a box of relative side √(1 − λ) around each centre (N, 2), else 1."""
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
    """Mask (N, pixels) bool of ``length`` (N,) pixels from ``start`` (N,), clipped at the border."""
    place = torch.arange(pixels, device=start.device)
    return (place >= start[:, None]) & (place < (start + length)[:, None])
