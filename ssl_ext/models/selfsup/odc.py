"""ODC (Zhan et al., 2020)."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_ext.losses import cluster_cross_entropy
from ssl_ext.models.utils import ClusterBank
from ssl_ext.registry import MODELS
from ssl_ext.values import check_at_least, check_not_negative

from .memory import MemoryModel


@MODELS.register_module()
class ODC(MemoryModel):
    """Online deep clustering: classify images into clusters that are updated during training.

    Every step classifies one view of each image into its cluster (the head), moves the image's bank entry
    towards the new embedding and assigns the nearest centroid; centroids are recomputed every few steps
    (:class:`ClusterBank`). The first clusters come from k-means on the embeddings of the untrained network:
    call ``cluster_bank.start`` before the first step (``ClusterHook`` does).

    Args:
        neck: As for :class:`MemoryModel`.
        bank_momentum: As for :class:`MemoryModel`.
        min_size: Smaller clusters are dissolved.
        interval: Optimiser steps between two updates of the centroids.
        **kwargs: As for :class:`MemoryModel`; the head's ``num_clusters`` is K.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self, *, neck: dict, bank_momentum: float = 0.5, min_size: int = 20, interval: int = 10, **kwargs
    ) -> None:
        check_at_least("model", 1, min_size=min_size, interval=interval)
        super().__init__(neck=neck, bank_momentum=bank_momentum, **kwargs)
        self.min_size, self.interval = min_size, interval

    @property
    def batch_dependence(self) -> str | None:
        """Set if the head weights images by cluster size, normalised over the batch."""
        return (
            "the weights of images by the sizes of their clusters sum to 1 over a batch"
            if self.head.power
            else None
        )

    @property
    def cluster_bank(self) -> ClusterBank | None:
        """Bank of the clusters; None before :meth:`set_dataset_size`."""
        return self._modules.get("cluster_bank")

    memory = cluster_bank

    def set_dataset_size(self, size: int) -> None:
        """Create a bank for ``size`` images."""
        settings = dict(momentum=self.bank_momentum, min_size=self.min_size)
        bank = ClusterBank(size, self.dim, self.head.num_clusters, **settings)
        self._modules["cluster_bank"] = bank.to(next(self.parameters()).device)

    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Embeddings (N, D) of normalised images (N, C, H, W), as the bank keeps them."""
        return self.project(self.extract_embedding(images))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss and logged statistics of one view (N, C, H, W) with ``data_samples['indices']`` (N,).

        Raises:
            RuntimeError: There is no bank yet.
            ValueError: The batch has no indices.
        """
        (images,), indices, bank = inputs, self.indices_of(data_samples), self.cluster_bank
        embeddings = self.embed_for_clusters(images)
        losses = self.head.loss(embeddings, bank.labels[indices], bank.counts())
        if self.training:
            losses["label_changes"] = bank.update(indices, embeddings)
        return losses

    def between_steps(self, step: int) -> None:
        """Recompute the centroids every ``interval`` steps."""
        if self.cluster_bank is not None and step % self.interval == 0:
            self.cluster_bank.refresh()


@MODELS.register_module()
class ODCHead(BaseModule):
    """Linear classifier of clusters; the weight of a sample is ∝ (size of its cluster) ** −power.

    Args:
        in_channels: D, size of the embeddings.
        num_clusters: K.
        power: At least 0; 0 weights all samples equally.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, in_channels: int, num_clusters: int, power: float = 0.5) -> None:
        super().__init__()
        check_at_least("model.head", 1, in_channels=in_channels)
        check_at_least("model.head", 2, num_clusters=num_clusters)
        check_not_negative("model.head", power=power)
        self.num_clusters, self.power = num_clusters, power
        self.classifier = nn.Linear(in_channels, num_clusters)

    def loss(self, embeddings: Tensor, labels: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of embeddings (N, D) with cluster labels (N,); ``counts`` (K,) are their sizes."""
        loss = cluster_cross_entropy(self.classifier(embeddings), labels, counts, power=self.power)
        return dict(loss_cluster=loss)
