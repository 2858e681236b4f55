"""Moving the salient cells of an image to where its mask shows them (PuzzleMix, Kim et al., 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def transport(images: Tensor, saliency: Tensor, shown: Tensor, *, cell: int, cost: float) -> Tensor:
    """Images with cells exchanged so that what is shown is salient: the assignment of least cost.

    Moving cell a to place b costs ``cost`` · distance² − saliency of a · [b is shown]; distances are in
    units of the longer side of the grid, and saliency sums to 1. The assignment is the exact one, by
    SciPy on the CPU. Rows and columns that fill no whole cell stay as they are.

    Args:
        images: (N, C, H, W).
        saliency: (N, H, W), ≥ 0.
        shown: (N, 1, H, W), share of the image in the mixture at each pixel.
        cell: Side of a cell in pixels, at most H and W.
        cost: ≥ 0.

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
    # Transposed, the assignment tells for each place which cell comes there.
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
    """(T, T) squared distances between T = down · across cells, the longer side of the grid being 1."""
    places = torch.cartesian_prod(torch.arange(float(down)), torch.arange(float(across)))
    places = places.view(-1, 2) / max(down - 1, across - 1, 1)
    return (places[:, None] - places[None]).square().sum(2)
