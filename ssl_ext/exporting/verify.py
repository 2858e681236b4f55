"""Check that an exported file computes the same features as the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.errors import UserError
from ssl_ext.models.utils import pool_features

from .formats import Network

TOLERANCE = 1e-5
BATCHES = (3, 1)


def random_images(count: int, channels: int, size: int, *, seed: int = 0) -> Tensor:
    """Random uint8 images (N, C, size, size); each has its own brightness, so that features differ."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, channels, size, size, generator=generator)
    return (255 * images * torch.linspace(0.3, 1, count).view(-1, 1, 1, 1)).to(torch.uint8)


@torch.no_grad()
def largest_difference(
    network: Network,
    model: Any,
    backbone: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
) -> float:
    """Compare an exported network with the backbone it came from, on random images.

    The backbone sees them as the model's own preprocessor makes them, the exported network as mean and
    std say: so a wrong note of the preprocessing is found as well.

    Args:
        network: The exported network, from normalised images (N, C, H, W) to features (N, D).
        model: In evaluation mode, with the ``data_preprocessor`` it was trained with.
        backbone: Part of ``model``.
        mean: Of the channels, of pixels in [0, 1].
        std: The same.
        size: Side of the images.

    Returns:
        The largest difference of two features, over the largest feature where that is above 1.

    Raises:
        UserError: The difference is above 1e-5, or not a number.
    """
    largest = 0.0
    for count in BATCHES:
        images = random_images(count, len(mean), size)
        clean = model.data_preprocessor(dict(inputs=images), False)["inputs"]
        wanted = pool_features(backbone(clean))
        found = network((images / 255 - _channels(mean)) / _channels(std))
        if found.shape != wanted.shape:
            raise UserError(
                f"The exported network gives {tuple(found.shape)}, not {tuple(wanted.shape)} features; "
                "nothing was written."
            )
        difference = (found - wanted).abs().max() / wanted.abs().max().clamp(min=1)
        if not difference <= TOLERANCE:
            raise UserError(
                f"The exported network's features differ from the original's by {float(difference):.1e} "
                f"(allowed: {TOLERANCE:.0e}; nan: the weights are broken); nothing was written."
            )
        largest = max(largest, float(difference))
    return largest


def _channels(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)
