"""ResizeMix (Qin et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from .cutmix import inside
from .mixed import check_pairs, shares, uniform


def resizemix(
    images: Tensor,
    lam: Tensor | float,
    permutation: Tensor,
    *,
    generator: torch.Generator | None = None,
    scale: tuple[float, float] = (0.1, 0.8),
) -> tuple[Tensor, Tensor]:
    """Resize sample j and paste it at a random position inside sample i.

    Its sides are τ times the image's, τ = low + (high − low) · (1 − λ): uniform in ``scale`` for a uniform
    λ, as in the paper. The returned shares follow from τ; λ = 1 still pastes a box of scale low.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,); a larger λ keeps more of sample i.
        permutation: (N,) int64, the partner j of each sample i.
        generator: Random generator of the positions.
        scale: Smallest and largest τ, 0 < low ≤ high ≤ 1.

    Returns:
        Mixtures (N, C, H, W), and the pixel share (N,) of sample i.

    Raises:
        ValueError: λ or scale out of range, or shapes that do not match.
    """
    check_pairs(images, permutation)
    low, high = check_scale(scale)
    lam = shares(lam, len(images), images.device)
    tau = low + (high - low) * (1 - lam)
    place = uniform((len(images), 2), generator, images.device)
    boxes, matrices = [], []
    for axis, pixels in enumerate(images.shape[2:]):
        length = (tau * pixels).round().long().clamp(min=1)
        start = torch.minimum((place[:, axis] * (pixels - length + 1)).long(), pixels - length)
        boxes.append(inside(start, length, pixels))
        matrices.append(shrinking_matrix(start, length, pixels).to(images.dtype))
    mask = 1 - (boxes[0][:, :, None] & boxes[1][:, None, :]).float().unsqueeze(1)
    pasted = matrices[0][:, None] @ images[permutation] @ matrices[1][:, None].mT
    return images * mask.to(images.dtype) + pasted, mask.mean((1, 2, 3))


def check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    """Return the pair as floats; raise ValueError unless 0 < low ≤ high ≤ 1."""
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(
            f"scale must be a pair (smallest, largest) above 0 and up to 1, got {scale} "
            "(config key model.policy.scale)"
        )
    return float(scale[0]), float(scale[1])


def shrinking_matrix(start: Tensor, length: Tensor, pixels: int) -> Tensor:
    """Matrices (N, pixels, pixels) that resample an axis into ``length`` pixels from ``start`` on.

    Rows inside the box hold a triangle filter, antialiased as in ``torch.nn.functional.interpolate``;
    rows outside the box are 0.
    """
    factor = (pixels / length)[:, None]
    place = torch.arange(pixels, device=start.device) + 0.5
    centre = (place - start[:, None]) * factor
    weights = (1 - (centre[:, :, None] - place).abs() / factor[:, :, None]).clamp(min=0)
    weights = weights / weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return weights * inside(start, length, pixels)[:, :, None]
