"""Priors of a mixing mask: its mean should be λ and its values near 0 or 1 (AMix, Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses.distributed import all_reduce_mean
from ssl_ext.losses.standardize import at_least_float32, full_precision


def mask_loss(
    mask: Tensor, lam: Tensor | float, *, margin: float = 0.1, variance_weight: float = 1.0
) -> Tensor:
    """Mean over samples of max(|λ − μ| − margin, 0) − variance_weight · mean((s − μ)²), μ the mean of s.

    The paper prints a plus before the second term, which would reward constant masks; its text asks for
    sparse ones.

    Args:
        mask: s, (N, 1, H, W) in [0, 1].
        lam: λ in [0, 1], a scalar or (N,).
        margin: Deviation of the mean from λ without penalty, ≥ 0.
        variance_weight: Weight of the variance.

    Returns:
        Scalar, averaged over processes.

    Raises:
        ValueError: ``mask`` is not (N, 1, H, W), or ``lam`` neither a scalar nor (N,).

    >>> mask = torch.tensor([[[[0.0, 1.0]]]])
    >>> mask_loss(mask, 0.8), mask_loss(mask, 0.8, variance_weight=0)
    (tensor(-0.0500), tensor(0.2000))
    """
    with full_precision(mask):
        mask = at_least_float32(mask)
        lam = per_sample(lam, mask)
        variance, mean = torch.var_mean(mask, dim=(1, 2, 3), correction=0, keepdim=True)
        deviation = ((lam - mean).abs() - margin).clamp(min=0)
        return all_reduce_mean((deviation - variance_weight * variance).mean())


def adjust_mask(mask: Tensor, lam: Tensor | float) -> Tensor:
    """Rescale masks so that their means are exactly λ.

    s · λ/μ for μ > λ, and 1 − (1 − s) · (1 − λ)/(1 − μ) otherwise, so that masks stay in [0, 1].
    (The paper's s · μ/λ for μ < λ moves the mean away from λ.)

    Args:
        mask: s, (N, 1, H, W) in [0, 1].
        lam: λ in [0, 1], a scalar or (N,).

    Returns:
        (N, 1, H, W) in [0, 1].

    Raises:
        ValueError: ``mask`` is not (N, 1, H, W), or ``lam`` neither a scalar nor (N,).

    >>> adjust_mask(torch.tensor([[[[0.5, 1.0]]]]), 0.3)
    tensor([[[[0.2000, 0.4000]]]])
    """
    with full_precision(mask):
        mask = at_least_float32(mask)
        lam = per_sample(lam, mask)
        mean = mask.mean(dim=(1, 2, 3), keepdim=True)
        # The branch that is not taken must not divide by zero.
        tiny = torch.finfo(mask.dtype).tiny
        shrunk = mask * (lam / mean.clamp(min=tiny))
        grown = 1 - (1 - mask) * ((1 - lam) / (1 - mean).clamp(min=tiny))
        return torch.where(mean > lam, shrunk, grown).clamp(0, 1)


def per_sample(lam: Tensor | float, maps: Tensor) -> Tensor:
    """Expand λ, a scalar or (N,), to (N, 1, 1, 1) in the dtype and on the device of ``maps``.

    Raises:
        ValueError: ``maps`` is not (N, C, H, W), or ``lam`` neither a scalar nor (N,).
    """
    if maps.dim() != 4:
        raise ValueError(f"maps must be (N, C, H, W), got {tuple(maps.shape)}")
    lam = lam.to(maps) if isinstance(lam, Tensor) else maps.new_full((), lam)
    if lam.shape not in ((), (len(maps),)):
        raise ValueError(f"lam must be a scalar or ({len(maps)},), got {tuple(lam.shape)}")
    return lam.reshape(-1, 1, 1, 1).expand(len(maps), 1, 1, 1)
