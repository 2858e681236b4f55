"""Resizing small grey images and repeating their channel."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CHUNK = 10_000  # images


def grey_images(images: Tensor, *, image_size: int | None, channels: int, dataset: str) -> Tensor:
    """Enlarge square grey images bicubically and repeat their channel.

    Args:
        images: (N, S, S), uint8 or float, values from 0 to 255.
        image_size: height and width of the result, at least S; None: S.
        channels: 1, or 3 equal channels.
        dataset: name for error messages.

    Returns:
        uint8 (N, channels, image_size, image_size).

    Raises:
        ValueError: image size below S, or ``channels`` not 1 or 3.

    Example:
        >>> grey_images(torch.full((2, 8, 8), 7), image_size=12, channels=3, dataset='X').shape
        torch.Size([2, 3, 12, 12])
    """
    own = images.shape[-1]
    size = own if image_size is None else image_size
    if size < own:
        raise ValueError(f"dataset.image_size of {dataset} must be at least {own}, got {image_size}")
    if channels not in (1, 3):
        raise ValueError(f"dataset.channels of {dataset} must be 1 or 3, got {channels}")
    parts = []
    for part in images.split(CHUNK):
        large = interpolate(part[:, None].float(), (size, size), mode="bicubic", align_corners=False)
        parts.append(large.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(parts).repeat(1, channels, 1, 1)
