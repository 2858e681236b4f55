"""Argument checks and random draws shared by the mixing policies."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses.mixed import Mixed

__all__ = ["Mixed", "blend", "check_least", "check_pairs", "dirichlet", "normal", "shares", "uniform"]


def shares(lam: Tensor | float, count: int, device: torch.device) -> Tensor:
    """Expand λ, a scalar or (N,), to float32 (N,) on ``device``.

    Raises:
        ValueError: Wrong shape, or a float outside [0, 1]. The values of a tensor are not checked.
    """
    if not isinstance(lam, Tensor):
        if not 0 <= lam <= 1:
            raise ValueError(f"lam must lie in [0, 1], got {lam}")
        return torch.full((count,), float(lam), device=device)
    if lam.shape not in ((), (count,)):
        raise ValueError(f"lam must be a scalar or ({count},), got shape {tuple(lam.shape)}")
    return lam.to(device, torch.float32).expand(count)


def check_pairs(images: Tensor, permutation: Tensor) -> None:
    """Raise ValueError unless images are floating-point (N, C, H, W) and the permutation is (N,)."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be floats (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if permutation.shape != images.shape[:1]:
        raise ValueError(f"permutation must be ({len(images)},), got {tuple(permutation.shape)}")


def check_least(**settings: tuple[float, float]) -> None:
    """Raise ValueError for a setting, given as (value, least allowed value), that is below it or NaN."""
    for key, (value, least) in settings.items():
        if not value >= least:
            raise ValueError(f"{key} must be at least {least}, got {value} (config key model.policy.{key})")


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) on ``device``, drawn on the generator's device."""
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source).to(device)


def normal(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard normal numbers on ``device``, drawn on the generator's device."""
    source = device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=source).to(device)


def dirichlet(alpha: float, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Symmetric Dirichlet sample (count,) on ``device``, drawn on the generator's device."""
    source = device if generator is None else generator.device
    # torch.distributions.Dirichlet uses this function but accepts no generator.
    return torch._sample_dirichlet(torch.full((count,), alpha, device=source), generator).to(device)


def beta(
    alpha: float, count: int, device: torch.device, *, generator: torch.Generator | None = None
) -> Tensor:
    """Sample λ ~ Beta(α, α), (count,), on ``device``, drawn on the generator's device."""
    source = device if generator is None else generator.device
    # The first component of a two-component Dirichlet sample is Beta distributed.
    shares = torch._sample_dirichlet(torch.full((count, 2), alpha, device=source), generator)
    return shares[:, 0].to(device)


def blend(images: Tensor, partners: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return mask · images + (1 − mask) · partners for masks (N, 1, H, W) in [0, 1], and their means (N,)."""
    return torch.lerp(partners, images, mask.to(images.dtype)), mask.float().mean((1, 2, 3))
