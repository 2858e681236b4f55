"""AMix with pseudo labels for the block (Table 1 of AMix, rows with pseudo labels)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_ext.losses import unit_rows
from ssl_ext.models.utils import ClusterBank, LabelSource, frozen, pool_features
from ssl_ext.registry import MODELS

from .amix import AMix

BY_CLASS = {"ce", "pbce"}


@MODELS.register_module()
class AMixClusters(AMix):
    """AMix whose classifier learns the classes, and whose block learns clusters of the images (ODC).

    The EMA copy's features are clustered. A linear classifier is trained to predict the clusters from these
    features and classifies the block's mixtures in place of the copy's head.

    Args:
        clusters: Arguments of :class:`ssl_ext.models.utils.LabelSource`: ``num_classes`` (required),
            ``momentum``, ``min_size``, ``interval``.
        **kwargs: As for :class:`AMix`.

    Raises:
        ValueError: As for :class:`AMix`, or an argument of ``clusters`` out of range.
    """

    uses_indices = True

    def __init__(self, *, clusters: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        size = kwargs["head"]["in_channels"]
        by_class = bool(BY_CLASS & set(self.block_head.losses))
        self.label_source = LabelSource("pseudo", in_channels=size, dim=size, classifier=by_class, **clusters)

    @property
    def cluster_bank(self) -> ClusterBank | None:
        """Bank of the pseudo labels; None before :meth:`set_dataset_size`."""
        return self.label_source.bank

    def set_dataset_size(self, size: int) -> None:
        """Create a cluster bank for ``size`` images."""
        self.label_source.set_dataset_size(size)

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image index outside the cluster bank."""
        self.label_source.check_batch(batch)

    @torch.no_grad()
    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Features (N, C) that are clustered: unit vectors of normalised images (N, channels, H, W)."""
        return unit_rows(pool_features(self.deployed.backbone(images)))

    def block_loss(self, images: Tensor, outputs: Sequence[Tensor], data_samples: dict) -> dict[str, Tensor]:
        """Add the loss of the cluster classifier, and update the clusters."""
        terms = super().block_loss(images, outputs, data_samples)
        features = pool_features(outputs)
        terms.update(self.label_source.loss(features, self.block_labels(data_samples)))
        if self.training:
            terms.update(self.label_source.update(data_samples, unit_rows(features)))
        return terms

    def block_logits(self, z_mix: Tensor) -> Tensor | None:
        """Logits (N, clusters) of the cluster classifier for the features (N, D) of the block's mixtures."""
        classifier = self.label_source.classifier
        if classifier is None:
            return None
        with frozen(classifier):
            return classifier(z_mix)

    def block_labels(self, data_samples: dict) -> Tensor:
        """Clusters (N,) of the images."""
        return self.label_source.labels_for(data_samples)

    def between_steps(self, step: int) -> None:
        """Recompute the centroids every few steps."""
        self.label_source.between_steps(step)
