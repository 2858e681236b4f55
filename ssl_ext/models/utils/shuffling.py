"""Embedding of a batch in another order (shuffled batch normalisation, He et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmengine.dist import broadcast
from torch import Tensor

from ssl_ext.losses import gather, rank


@torch.no_grad()
def shuffled(network: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> list[Tensor]:
    """Apply a network to a random share of the images of all processes, without gradients.

    Every process embeds as many images as it has. Batch statistics of the network are then those of other
    images than its own.

    Args:
        network: Function of images (N, C, H, W) that returns tensors (N, ...).
        images: (N, C, H, W), the same N on every process.

    Returns:
        The network's tensors; row i belongs to ``images[i]``.
    """
    joined = gather(images)
    order = torch.randperm(len(joined), device=images.device)
    broadcast(order)
    mine = slice(rank() * len(images), (rank() + 1) * len(images))
    # The argsort of a permutation is its inverse.
    back = order.argsort()[mine]
    return [gather(rows)[back] for rows in network(joined[order[mine]])]
