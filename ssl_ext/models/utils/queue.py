"""First-in, first-out queue of embeddings of earlier batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses import gather


class Queue(nn.Module):
    """The last ``size`` embeddings, equal on all processes and stored in checkpoints.

    Args:
        size: K, number of embeddings.
        dim: D, dimension of the embeddings.

    Raises:
        ValueError: ``size`` or ``dim`` below 1.
    """

    features: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        for key, value in (("queue_size", size), ("neck.out_channels", dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"model.{key} is {value!r}; it must be at least 1.")
        self.register_buffer("features", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def snapshot(self) -> Tensor:
        """Copy (K, D) of the content."""
        return self.features.clone()

    @torch.no_grad()
    def enqueue(self, embeddings: Tensor) -> None:
        """Replace the oldest entries by the embeddings of all processes, in rank order.

        Any number of rows is allowed; of more than K rows the last K are stored.

        Args:
            embeddings: (N, D), the same N on every process.
        """
        joined = gather(embeddings.detach().to(self.features.dtype))
        size = len(self.features)
        order = torch.arange(len(joined), device=joined.device)[-size:]
        self.features[(self.pointer + order) % size] = joined[order]
        self.pointer.copy_((self.pointer + len(joined)) % size)
