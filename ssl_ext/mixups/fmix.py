"""FMix (Harris et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from .mixed import blend, check_least, check_pairs, normal, shares


def fmix(
    images: Tensor,
    lam: Tensor | float,
    permutation: Tensor,
    *,
    generator: torch.Generator | None = None,
    decay: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Mix with a binary mask: sample i where a random low-frequency image is brightest, else sample j.

    Every sample has its own mask.

    Args:
        images: (N, C, H, W), floating point.
        lam: λ in [0, 1], a scalar or (N,), the share of sample i before rounding to whole pixels.
        permutation: (N,) int64, the partner j of each sample i.
        generator: Random generator of the masks.
        decay: δ ≥ 0; amplitudes are proportional to frequency ** −δ.

    Returns:
        Mixtures (N, C, H, W), and the share (N,) of sample i: λ rounded to whole pixels.

    Raises:
        ValueError: λ or decay out of range, or shapes that do not match.
    """
    check_pairs(images, permutation)
    check_least(decay=(decay, 0))
    lam = shares(lam, len(images), images.device)
    n, _, height, width = images.shape
    grey = low_frequency_images(n, height, width, decay, generator, images.device)
    return blend(images, images[permutation], brightest(grey, lam))


def low_frequency_images(
    count: int,
    height: int,
    width: int,
    decay: float,
    generator: torch.Generator | None,
    device: torch.device,
) -> Tensor:
    """Random grey images (N, H, W) with amplitudes proportional to frequency ** −decay."""
    across = torch.fft.rfftfreq(width, device=device)
    down = torch.fft.fftfreq(height, device=device)
    # Avoid division by 0 at the mean: clamp to the lowest frequency of the image.
    frequency = torch.hypot(down[:, None], across[None]).clamp(min=1 / max(height, width))
    spectrum = torch.view_as_complex(normal((count, *frequency.shape, 2), generator, device))
    return torch.fft.irfft2(spectrum / frequency**decay, s=(height, width))


def brightest(grey: Tensor, lam: Tensor) -> Tensor:
    """Masks (N, 1, H, W), 1 at the round(λ · H · W) brightest pixels of each image (N, H, W), else 0."""
    flat = grey.flatten(1)
    order = flat.argsort(dim=1, descending=True)
    count = (lam * flat.shape[1]).round()
    among = torch.arange(flat.shape[1], device=grey.device) < count[:, None]
    return torch.zeros_like(flat).scatter_(1, order, among.to(flat)).view(len(grey), 1, *grey.shape[1:])
