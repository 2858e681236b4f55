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
    """Random uint8 images (N, C, size, size) of different brightness, so that their features differ."""
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
    """Compare an exported network with the original backbone on random images.

    The backbone's input is normalised by the model's preprocessor, the exported network's by ``mean`` and
    ``std``, which verifies the exported statistics too.

    Args:
        network: The exported network; maps normalised images (N, C, H, W) to features (N, D).
        model: Model in evaluation mode with its ``data_preprocessor``.
        backbone: Backbone of ``model``.
        mean: Channel means of pixels in [0, 1].
        std: Channel standard deviations of pixels in [0, 1].
        size: Height and width of the images.

    Returns:
        Largest absolute difference of features, divided by the largest feature if that is above 1.

    Raises:
        UserError: The shapes differ, or the difference is above 1e-5 or NaN.
    """
    largest = 0.0
    for count in BATCHES:
        images = random_images(count, len(mean), size)
        clean = model.data_preprocessor(dict(inputs=images), False)["inputs"]
        wanted = pool_features(backbone(clean))
        found = network((images / 255 - _channels(mean)) / _channels(std))
        if found.shape != wanted.shape:
            raise UserError(
                f"The exported network gives features {tuple(found.shape)}, not {tuple(wanted.shape)}; "
                "nothing was written."
            )
        difference = (found - wanted).abs().max() / wanted.abs().max().clamp(min=1)
        if not difference <= TOLERANCE:
            raise UserError(
                f"The exported network's features differ from the original's by {float(difference):.1e} "
                f"(allowed: {TOLERANCE:.0e}; nan: the weights are not finite); nothing was written."
            )
        largest = max(largest, float(difference))
    return largest


def _channels(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)
