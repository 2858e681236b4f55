"""Pretext transforms of a batch, drawn per image: rotations and jigsaw puzzles."""

from __future__ import annotations

import torch
from torch import Tensor

GRID = 3


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate each image counter-clockwise by a number of quarter turns.

    Args:
        images: (N, C, S, S).
        turns: (N,) integers from 0 to 3.

    Returns:
        (N, C, S, S), without interpolation.

    Raises:
        ValueError: Images that are not square.

    >>> rotate(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([1])).flatten()
    tensor([2, 4, 1, 3])
    """
    n, channels, height, width = images.shape
    if height != width:
        raise ValueError(
            f"Images of {height} x {width} px cannot be rotated by 90 degrees into one batch: model.pretext="
            "'rotation' needs square views."
        )
    pixels = torch.arange(height * width, device=images.device).view(height, width)
    sources = torch.stack([pixels.rot90(k).flatten() for k in range(4)])[turns]
    return images.flatten(2).gather(2, sources[:, None].expand(-1, channels, -1)).view_as(images)


def patch_size(side: int) -> tuple[int, int]:
    """Sides in px of a grid cell of the jigsaw and of the patch cut from it, for images of ``side`` px.

    The patch has three quarters of the cell's side (rounded up), at a random place in the cell: 64 of 85 px
    for the paper's 255 px, 8 of 10 px for 32 px.

    >>> patch_size(255), patch_size(32)
    ((85, 64), (10, 8))
    """
    cell = side // GRID
    return cell, cell - cell // 4


def draw_patches(images: Tensor) -> Tensor:
    """Cut a randomly placed patch from each cell of each image's 3 x 3 grid.

    Args:
        images: (N, C, H, W), H and W at least 3.

    Returns:
        (9 * N, C, h, w): the nine patches of an image are consecutive, in row-major order.

    Raises:
        ValueError: Images smaller than 3 px.
    """
    n, _, *sides = images.shape
    if min(sides) < GRID:
        raise ValueError(f"Images of {sides[0]} x {sides[1]} px have no 3 x 3 grid of patches.")
    positions = []
    for side in sides:
        cell, patch = patch_size(side)
        corners = (side - GRID * cell) // 2 + cell * torch.arange(GRID, device=images.device)
        shift = torch.randint(cell - patch + 1, (n, GRID, GRID), device=images.device)
        positions.append((shift, corners, torch.arange(patch, device=images.device)))
    (down, tops, rows), (right, lefts, columns) = positions
    y = (down + tops[:, None])[..., None, None] + rows[:, None]
    x = (right + lefts)[..., None, None] + columns
    sample = torch.arange(n, device=images.device).view(n, 1, 1, 1, 1)
    return images.permute(0, 2, 3, 1)[sample, y, x].flatten(0, 2).permute(0, 3, 1, 2)


def shuffle_and_join(features: Tensor, order: Tensor) -> Tensor:
    """Concatenate the patch features of each image in the given order.

    Args:
        features: (P * N, D), the P patches of an image are consecutive.
        order: (N, P), a permutation of 0 ... P - 1 for each image.

    Returns:
        (N, P * D).
    """
    n, patches = order.shape
    return (
        features.view(n, patches, -1).gather(1, order[..., None].expand(-1, -1, features.shape[1])).flatten(1)
    )
