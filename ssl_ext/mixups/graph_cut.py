"""Exact minimisation of grid energies with quadratic smoothness, by one graph cut per batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def import_maxflow() -> Any:
    """Import PyMaxflow, which the other policies do not need; raise ImportError if it is not installed."""
    try:
        import maxflow
    except ImportError as error:
        raise ImportError("graph cuts need PyMaxflow: pip install PyMaxflow") from error
    return maxflow


def smooth_labels(unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Labels l in 0 … L − 1 that minimise Σ unary[l] + Σ over neighbours of w · ((l − l') / (L − 1))².

    The minimum is exact: with quadratic smoothness the labels are the level sets of one minimum cut
    (Ishikawa, 2003), computed by PyMaxflow on the CPU for all grids of the batch at once.

    Args:
        unary: (N, H, W, L), L ≥ 2, the cost of each label.
        down: (N, H − 1, W), w ≥ 0 between each cell and the one below.
        right: (N, H, W − 1), w ≥ 0 between each cell and the one to the right.

    Returns:
        (N, H, W) int64 on the device of ``unary``.

    Raises:
        ImportError: PyMaxflow is not installed.
    """
    maxflow = import_maxflow()
    device = unary.device
    unary, down, right = (tensor.detach().to("cpu", torch.float64) for tensor in (unary, down, right))
    steps = unary.shape[3] - 1
    # A cell has one node per threshold k = 1 … L - 1, t_k = 1 on the sink side, which means l >= k. Then
    # (l - l')² = Σ_k,m |t_k - t'_m| + Σ_k (2k - L) (t_k + t'_k).
    above = unary.diff(dim=3)
    level = 2 * torch.arange(1.0, steps + 1, dtype=torch.float64) - (steps + 1)
    weights = [weight.unsqueeze(3) / steps**2 for weight in (down, right)]
    for axis, weight in enumerate(weights, start=1):
        length = unary.shape[axis]
        above.narrow(axis, 0, length - 1).add_(weight * level)
        above.narrow(axis, 1, length - 1).add_(weight * level)

    graph = maxflow.GraphFloat()
    nodes = torch.from_numpy(graph.add_grid_nodes(tuple(above.shape)))
    graph.add_grid_tedges(nodes.numpy(), above.clamp(min=0).numpy(), above.clamp(max=0).neg().numpy())
    if steps > 1:
        # l >= k + 1 without l >= k would cut an edge of greater capacity than all others together.
        dearest = above.abs().sum() + steps**2 * sum(weight.sum() for weight in weights) + 1
        lower, upper = nodes[..., :-1].flatten(), nodes[..., 1:].flatten()
        _add_edges(graph, lower, upper, dearest.expand(len(lower)), both=False)
    for axis, weight in enumerate(weights, start=1):
        length = unary.shape[axis]
        first = nodes.narrow(axis, 0, length - 1)[..., :, None]
        second = nodes.narrow(axis, 1, length - 1)[..., None, :]
        first, second, weight = torch.broadcast_tensors(first, second, weight.unsqueeze(4))
        _add_edges(graph, first.flatten(), second.flatten(), weight.flatten(), both=True)
    graph.maxflow()
    return torch.from_numpy(graph.get_grid_segments(nodes.numpy())).sum(3).to(device)


def _add_edges(graph: Any, start: Tensor, end: Tensor, capacity: Tensor, *, both: bool) -> None:
    """Add edges to a PyMaxflow graph; the reverse capacity is the same (``both``) or 0."""
    if len(start):
        back = capacity if both else torch.zeros_like(capacity)
        arrays = (tensor.contiguous().numpy() for tensor in (start, end, capacity, back))
        graph.add_edges(*arrays)
