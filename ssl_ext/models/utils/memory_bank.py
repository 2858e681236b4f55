"""Memory bank with one embedding per training image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses import gather


class MemoryBank(nn.Module):
    """Moving averages of the embeddings of all images, equal on all processes and stored in checkpoints.

    ``features`` (n, D) holds unit vectors, initially random.

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

        Only indices on the CPU are checked: on a GPU the check would be a host sync, and the indexing
        kernel itself fails for a bad index.
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
        """Update the entries of the images of all processes with new embeddings.

        If an image occurs several times, its last embedding is used (in rank order, then batch order).

        Args:
            indices: (N,) int64, rows of the data set; the same N on every process.
            embeddings: (N, D), of any norm.
        """
        indices = gather(indices)
        new = F.normalize(gather(embeddings.detach().to(self.features.dtype)), dim=1)
        # Rows with the same index all write the last one's embedding, so the order of writes does not matter.
        sorted_indices, order = torch.sort(indices, stable=True)
        last = order[torch.searchsorted(sorted_indices, indices, right=True) - 1]
        self.features[indices] = F.normalize(
            torch.lerp(new[last], self.features[indices], self.momentum), dim=1
        )
