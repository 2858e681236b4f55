"""One embedding per image of the data set, kept over the epochs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses import gather


class MemoryBank(nn.Module):
    """Moving averages of the embeddings of all images, the same on every process; part of the checkpoint.

    ``features`` (n, D) holds unit vectors, random ones at first.

    Args:
        size: Number of images, n.
        dim: Dimension of the embeddings, D.
        momentum: m in [0, 1): an entry becomes m · itself + (1 − m) · the new embedding, normalised.

    Raises:
        ValueError: A number out of range.
    """

    features: Tensor

    def __init__(self, size: int, dim: int, *, momentum: float = 0.5) -> None:
        super().__init__()
        for name, value in (("size", size), ("dim", dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of a memory bank is {value!r}; it must be at least 1.")
        if not 0 <= momentum < 1:
            raise ValueError(f"model.bank_momentum is {momentum}; it must be at least 0 and below 1.")
        self.momentum = momentum
        self.register_buffer("features", F.normalize(torch.randn(size, dim), dim=1))

    def check(self, indices: Tensor) -> None:
        """Raise IndexError for an index without an entry.

        Only indices on the CPU are looked at: on a GPU that would wait for the device, whose own indexing
        stops the run.
        """
        if indices.device.type == "cpu" and len(indices):
            low, high = indices.aminmax()
            if low < 0 or high >= len(self.features):
                raise IndexError(
                    f"Sample indices from {low} to {high} reached a memory bank of {len(self.features)} "
                    "images: it must have the size of the data set that gives data_samples['indices']."
                )

    @torch.no_grad()
    def update(self, indices: Tensor, embeddings: Tensor) -> None:
        """Move the entries of the images of all processes to their new embeddings.

        Of several embeddings of one image the last one counts (in rank order, then batch order).

        Args:
            indices: (N,) int64, rows of the data set; the same N on every process.
            embeddings: (N, D), of any length.
        """
        indices = gather(indices)
        new = F.normalize(gather(embeddings.detach().to(self.features.dtype)), dim=1)
        # Every row takes the embedding of the last row with its index: equal writes, in any order.
        sorted_indices, order = torch.sort(indices, stable=True)
        last = order[torch.searchsorted(sorted_indices, indices, right=True) - 1]
        self.features[indices] = F.normalize(
            torch.lerp(new[last], self.features[indices], self.momentum), dim=1
        )
