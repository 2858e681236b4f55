"""Clusters of the embeddings of all images, updated online (ODC, Zhan et al., 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, is_main_process
from torch import Tensor

from ssl_ext.losses import gather

from .memory_bank import MemoryBank

LLOYD_ITERATIONS = 10


class ClusterBank(MemoryBank):
    """A memory bank whose entries are assigned to the cluster with the nearest centroid.

    Bank, clusters and centroids are equal on all processes and stored in checkpoints. Clusters are never
    empty: images that would empty their cluster stay in it, and :meth:`refresh` dissolves small clusters.

    Args:
        size: Number of images, n.
        dim: Dimension of the embeddings, D.
        num_clusters: K, at most n.
        momentum: m of the moving averages of the embeddings, at least 0 and below 1.
        min_size: Smaller clusters are dissolved; capped at half of the mean size, n / K.
        key: Config key of ``num_clusters``, for the message of an error.

    Raises:
        ValueError: A number out of range.
    """

    labels: Tensor
    centroids: Tensor
    started: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        num_clusters: int,
        *,
        momentum: float = 0.5,
        min_size: int = 20,
        key: str = "model.head.num_clusters",
    ) -> None:
        super().__init__(size, dim, momentum=momentum)
        if not isinstance(num_clusters, int) or not 2 <= num_clusters <= size:
            raise ValueError(
                f"{num_clusters!r} clusters of {size} images, at least one image each: set "
                f"{key}={max(2, min(size // 20, size))}."
            )
        if not isinstance(min_size, int) or min_size < 1:
            raise ValueError(f"min_size of a cluster is {min_size!r}; it must be at least 1.")
        self.min_size = max(1, min(min_size, size // (2 * num_clusters)))
        self.register_buffer("labels", torch.arange(size) % num_clusters)
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))
        self.register_buffer("started", torch.zeros((), dtype=torch.long))

    def counts(self) -> Tensor:
        """Sizes of the clusters, (K,) int64."""
        return self._members(torch.ones_like(self.labels))

    @torch.no_grad()
    def start(self, features: Tensor) -> None:
        """Fill the bank with embeddings (n, D) of all images, of any norm, and cluster them by k-means.

        The initialisation of k-means is fixed, so the clusters depend on the embeddings only.
        """
        from sklearn.cluster import MiniBatchKMeans

        self.features.copy_(F.normalize(features, dim=1))
        if is_main_process():
            clusters = MiniBatchKMeans(len(self.centroids), n_init=3, random_state=0)
            found = clusters.fit_predict(self.features.cpu().numpy())
            self.labels.copy_(torch.from_numpy(found))
        broadcast(self.features)
        self.refresh()
        self.started.fill_(1)

    @torch.no_grad()
    def update(self, indices: Tensor, embeddings: Tensor) -> Tensor:
        """Update the entries of the images of all processes and assign them to the nearest centroid.

        Args:
            indices: (N,) int64, rows of the data set; the same N on every process.
            embeddings: (N, D), of any norm.

        Returns:
            Fraction of the images whose cluster changed, 0-dim.
        """
        super().update(indices, embeddings)
        indices = gather(indices)
        old = self.labels[indices]
        new = _distances(self.features[indices], self.centroids).argmin(1)
        proposed = self.labels.clone()
        proposed[indices] = new
        staying = self._members((proposed == self.labels).long())
        new = torch.where(staying[old] > 0, new, old)
        self.labels[indices] = new
        return (new != old).float().mean()

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the centroids, and replace small clusters by halves of the largest ones.

        The images of a small cluster move to the cluster with the nearest centroid; the small cluster then
        takes one part of the largest cluster, split by 2-means.
        """
        self._recompute()
        counts = self.counts()
        # The only host sync, once per update of the centroids.
        small = (counts < self.min_size).nonzero()[:, 0].tolist()
        if small:
            between = _distances(self.centroids, self.centroids)
            between[:, small] = float("inf")
            target = torch.arange(len(counts), device=counts.device)
            target[small] = between[small].argmin(1)
            self.labels.copy_(target[self.labels])
            for cluster in small:
                members = (self.labels == self.counts().argmax()).nonzero()[:, 0]
                second = split_in_two(self.features[members], smallest=self.min_size)
                self.labels[members[second]] = cluster
            self._recompute()
        # GPU sums have no fixed order; broadcasting keeps the processes equal.
        broadcast(self.labels)
        broadcast(self.centroids)

    def _members(self, counted: Tensor) -> Tensor:
        """Sum (K,) of ``counted`` (n,) int64 over the images of each cluster."""
        return self.labels.new_zeros(len(self.centroids)).index_add_(0, self.labels, counted)

    def _recompute(self) -> None:
        sums = torch.zeros_like(self.centroids).index_add_(0, self.labels, self.features)
        self.centroids.copy_(sums / self.counts().clamp(min=1)[:, None])


def split_in_two(features: Tensor, *, smallest: int = 1) -> Tensor:
    """Split features (n, D) by 2-means with distant initial centres; mask (n,) of the second part.

    Each part has at least ``smallest`` members, for n ≥ 2 · ``smallest``; equal features are split
    arbitrarily.

    >>> split_in_two(torch.tensor([[0.0], [9.0], [1.0], [8.0], [7.0]]))
    tensor([False,  True, False,  True,  True])
    """
    first = features[(features - features.mean(0)).square().sum(1).argmax()]
    second = features[(features - first).square().sum(1).argmax()]
    for _ in range(LLOYD_ITERATIONS):
        distances = _distances(features, torch.stack([first, second]))
        preference = distances[:, 0] - distances[:, 1]
        weight = (preference > 0).to(features.dtype)
        second = weight @ features / weight.sum().clamp(min=1)
        first = (1 - weight) @ features / (1 - weight).sum().clamp(min=1)
    count = weight.sum().clamp(smallest, len(features) - smallest)
    return preference.argsort(descending=True, stable=True).argsort() < count


def _distances(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (n, m) up to a constant per point, which suffices to compare centres."""
    return centres.square().sum(1) - 2 * points @ centres.T
