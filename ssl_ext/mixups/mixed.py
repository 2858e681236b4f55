"""Checks and draws that all mixing policies share; :class:`Mixed` is what each returns."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_ext.losses.mixed import Mixed

__all__ = ["Mixed", "blend", "check_pairs", "dirichlet", "normal", "shares", "uniform"]


def shares(lam: Tensor | float, count: int, device: torch.device) -> Tensor:
    """λ, a scalar or (N,), as float32 (N,) on ``device``.

    Raises:
        ValueError: Another shape, or a float that is not in [0, 1].
    """
    if not isinstance(lam, Tensor):
        if not 0 <= lam <= 1:
            raise ValueError(f"lam must lie in [0, 1], got {lam}")
        return torch.full((count,), float(lam), device=device)
    if lam.shape not in ((), (count,)):
        raise ValueError(f"lam must be a scalar or ({count},), got shape {tuple(lam.shape)}")
    return lam.to(device, torch.float32).expand(count)


def check_pairs(images: Tensor, permutation: Tensor) -> None:
    """Raise ValueError unless images are (N, C, H, W) of a floating point type and permutation is (N,)."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be floats (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if permutation.shape != images.shape[:1]:
        raise ValueError(f"permutation must be ({len(images)},), got {tuple(permutation.shape)}")


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers in [0, 1), drawn where the generator lives (default: on ``device``)."""
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source).to(device)


def normal(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard normal numbers, drawn where the generator lives (default: on ``device``)."""
    source = device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=source).to(device)


def dirichlet(alpha: float, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """A draw (count,) of the symmetric Dirichlet distribution, where the generator lives (as above)."""
    source = device if generator is None else generator.device
    # torch.distributions samples with this too, but takes no generator.
    return torch._sample_dirichlet(torch.full((count,), alpha, device=source), generator).to(device)


def beta(
    alpha: float, count: int, device: torch.device, *, generator: torch.Generator | None = None
) -> Tensor:
    """λ ~ Beta(α, α), (count,), on ``device``, drawn where the generator lives (as above)."""
    source = device if generator is None else generator.device
    # The first of two shares with a Dirichlet distribution has a Beta distribution.
    shares = torch._sample_dirichlet(torch.full((count, 2), alpha, device=source), generator)
    return shares[:, 0].to(device)


def blend(images: Tensor, partners: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Images where a mask (N, 1, H, W) is 1, partners where it is 0; and the mean (N,) of each mask."""
    return torch.lerp(partners, images, mask.to(images.dtype)), mask.float().mean((1, 2, 3))
