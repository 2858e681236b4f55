"""Transport of salient cells to visible positions (PuzzleMix, Kim et al., 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def transport(images: Tensor, saliency: Tensor, shown: Tensor, *, cell: int, cost: float) -> Tensor:
    """Permute the cells of each image so that visible positions show salient cells, at least cost.

    Moving cell a to position b costs ``cost`` · distance² − saliency of a · [b is visible]; distances are
    in units of the longer side of the grid, and saliency sums to 1. SciPy solves the assignment exactly on
    the CPU. Pixels beyond the last whole cell are unchanged.

    Args:
        images: (N, C, H, W).
        saliency: (N, H, W), ≥ 0.
        shown: (N, 1, H, W) in [0, 1], mask of the image in the mixture.
        cell: Side of a cell in pixels, at most H and W.
        cost: Cost per squared distance, ≥ 0.

    Returns:
        (N, C, H, W).
    """
    from scipy.optimize import linear_sum_assignment

    n, channels = images.shape[:2]
    down, across = images.shape[2] // cell, images.shape[3] // cell
    height, width = down * cell, across * cell
    salient = F.avg_pool2d(saliency[:, None], cell).flatten(1)
    salient = salient / salient.sum(1, keepdim=True).clamp(min=torch.finfo(salient.dtype).tiny)
    visible = (F.avg_pool2d(shown.float(), cell).flatten(1) > 0).to(salient)
    costs = cost * squared_distances(down, across).to(salient) - salient[:, :, None] * visible[:, None]
    # Transposed costs give the source cell of each position.
    assigned = [linear_sum_assignment(place_by_cell)[1] for place_by_cell in costs.mT.cpu().numpy()]
    source = torch.stack([torch.from_numpy(cells) for cells in assigned]).to(images.device)

    cells = images[:, :, :height, :width].reshape(n, channels, down, cell, across, cell)
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = cells[torch.arange(n, device=images.device)[:, None], source]
    moved = moved.unflatten(1, (down, across)).permute(0, 3, 1, 4, 2, 5)
    result = images.clone()
    result[:, :, :height, :width] = moved.reshape(n, channels, height, width)
    return result


def squared_distances(down: int, across: int) -> Tensor:
    """Squared distances (T, T) between T = down · across cells, in units of the grid's longer side."""
    places = torch.cartesian_prod(torch.arange(float(down)), torch.arange(float(across)))
    places = places.view(-1, 2) / max(down - 1, across - 1, 1)
    return (places[:, None] - places[None]).square().sum(2)
