"""Clusters of all images of a data set that follow their embeddings (ODC, Zhan et al., 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, is_main_process
from torch import Tensor

from ssl_ext.losses import gather

from .memory_bank import MemoryBank

LLOYD_ITERATIONS = 10


class ClusterBank(MemoryBank):
    """A memory bank whose every entry belongs to the cluster with the nearest centroid.

    Bank, clusters and centroids are the same on every process and part of the checkpoint. No cluster is
    ever empty: one whose last images would leave in the same batch keeps them, and :meth:`refresh` deals
    with the small ones.

    Args:
        size: Number of images, n.
        dim: Dimension of the embeddings, D.
        num_clusters: K, at most n.
        momentum: m of the moving averages of the embeddings, at least 0 and below 1.
        min_size: A smaller cluster is dissolved. At most half of the mean size, n / K, is asked for.

    Raises:
        ValueError: A number out of range.
    """

    labels: Tensor
    centroids: Tensor
    started: Tensor

    def __init__(
        self, size: int, dim: int, num_clusters: int, *, momentum: float = 0.5, min_size: int = 20
    ) -> None:
        super().__init__(size, dim, momentum=momentum)
        if not isinstance(num_clusters, int) or not 2 <= num_clusters <= size:
            raise ValueError(
                f"{num_clusters!r} clusters of {size} images: at least 2 are needed, and an image for each "
                "(config keys model.num_clusters, model.labels.num_classes)."
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
        """Take the first embeddings (n, D) of all images, of any length, and cluster them by k-means.

        The start of k-means is fixed, so the clusters depend on the embeddings alone.
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
        """Move the entries of the images of all processes, then give them the nearest centroid's cluster.

        Args:
            indices: (N,) int64, rows of the data set; the same N on every process.
            embeddings: (N, D), of any length.

        Returns:
            The share of the images whose cluster changed, a scalar.
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
        """Compute the centroids anew; dissolve small clusters and refill them from the largest.

        The images of a small cluster go to the one with the nearest centroid. Half of the largest cluster,
        split in two by 2-means, takes the place of each.
        """
        self._recompute()
        counts = self.counts()
        # The only wait for the device, and only when the centroids are renewed.
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
        # Sums on a GPU are not added in a fixed order; the processes must not drift apart.
        broadcast(self.labels)
        broadcast(self.centroids)

    def _members(self, counted: Tensor) -> Tensor:
        """Sum (K,) of ``counted`` (n,) int64 over the images of each cluster."""
        return self.labels.new_zeros(len(self.centroids)).index_add_(0, self.labels, counted)

    def _recompute(self) -> None:
        sums = torch.zeros_like(self.centroids).index_add_(0, self.labels, self.features)
        self.centroids.copy_(sums / self.counts().clamp(min=1)[:, None])


def split_in_two(features: Tensor, *, smallest: int = 1) -> Tensor:
    """2-means of (n, D) features, started far apart: mask (n,) of the second part.

    Each part has at least ``smallest`` members, n being at least twice that; equal features are cut
    anyhow.

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
    """Squared Euclidean distances (n, m), less each point's own squared length: enough to compare centres."""
    return centres.square().sum(1) - 2 * points @ centres.T
