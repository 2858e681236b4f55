"""MixUp (Zhang et al., 2018); applied to features, Manifold Mixup (Verma et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from .mixed import shares


def mixup(
    images: Tensor, lam: Tensor | float, permutation: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Interpolate each sample with its partner: λ · x_i + (1 − λ) · x_j.

    Args:
        images: (N, ...), images or the features of any layer.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i.
        permutation: (N,) int64, the partner j of each sample i.
        generator: Not used.

    Returns:
        Mixtures of the shape of ``images``, and λ (N,).

    Raises:
        ValueError: λ out of range, or shapes that do not match.

    >>> mixup(torch.tensor([[1.0], [0.0]]), 0.75, torch.tensor([1, 0]))
    (tensor([[0.7500],
            [0.2500]]), tensor([0.7500, 0.7500]))
    """
    if permutation.shape != images.shape[:1]:
        raise ValueError(f"permutation must be ({len(images)},), got {tuple(permutation.shape)}")
    lam = shares(lam, len(images), images.device)
    weight = lam.to(images.dtype).view(-1, *[1] * (images.ndim - 1))
    return torch.lerp(images[permutation], images, weight), lam
