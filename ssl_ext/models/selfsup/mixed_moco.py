"""MoCo v2 with mixed images: the cross-view pipeline of AMix (Sec. 3.1), for any way of mixing."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssl_ext.losses import unit_rows
from ssl_ext.models.utils import ClusterBank, LabelSource, pool_features, shuffled

from .moco import MoCo

PIPELINES = ("cross", "same")


class MixingStep(NamedTuple):
    """Tensors of a mixing step.

    Query views (N, C, H, W); keys (N, D), unit vectors of the plain images; queue (K, D); labels (N,) or
    None.
    """

    images: Tensor
    keys: Tensor
    queue: Tensor
    labels: Tensor | None


class MixedMoCo(MoCo):
    """InfoNCE (Eq. 2), and InfoNCE of mixed query views whose positives are the keys of both sources (Eq. 4).

    Subclasses implement mixing in :meth:`mixed_losses`. Labels are used for mixing and for a classifier on
    detached features of the key network; the network gets no gradient from them.

    Args:
        pipeline: ``'cross'``: the keys of Eq. 4 come from the key views, as in Eq. 2; ``'same'``: from the
            views that are mixed. The queue always stores keys of the key views.
        labels: Arguments of :class:`ssl_ext.models.utils.LabelSource`: ``source`` (``'pseudo'`` or
            ``'ground-truth'``), ``num_classes`` and, for clusters, ``momentum``, ``min_size``, ``interval``.
        classifier: Train a classifier of the labels.
        **kwargs: As for :class:`MoCo`.

    Raises:
        ValueError: An unknown pipeline, or an argument of ``labels`` out of range.
    """

    batch_dependence = "images are mixed within a batch, whose keys enter the queue before the next one"
    uses_indices = True

    def __init__(
        self,
        *,
        pipeline: str = "cross",
        labels: dict | None = None,
        classifier: bool = False,
        **kwargs,
    ) -> None:
        if pipeline not in PIPELINES:
            raise ValueError(f"model.pipeline is {pipeline!r}; allowed are {', '.join(PIPELINES)}.")
        neck = kwargs["neck"]
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.label_source: LabelSource | None = None
        if labels is not None:
            sizes = dict(in_channels=neck.get("in_channels"), dim=neck.get("out_channels"))
            self.label_source = LabelSource(**labels, **sizes, classifier=classifier)

    @property
    def cluster_bank(self) -> ClusterBank | None:
        """Bank of the pseudo labels; None without pseudo labels."""
        return None if self.label_source is None else self.label_source.bank

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError if ground-truth labels are needed and the training images lack them."""
        if self.label_source is not None:
            self.label_source.check_dataset(dataset)

    def set_dataset_size(self, size: int) -> None:
        """Create the bank of pseudo labels, if any, for ``size`` images."""
        if self.label_source is not None:
            self.label_source.set_dataset_size(size)

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image index outside the cluster bank."""
        if self.label_source is not None:
            self.label_source.check_batch(batch)

    @torch.no_grad()
    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Keys (N, D) of normalised images (N, C, H, W), which are clustered."""
        return self.key_network(images)[0]

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of a query view and a key view, each (N, C, H, W).

        ``data_samples`` needs ``indices`` for pseudo labels, ``labels`` for ground-truth labels.
        """
        view_query, view_key = inputs
        source = self.label_source
        labels = None if source is None else source.labels_for(data_samples)
        queue = self.queues[0].snapshot()
        features, keys = self.embed_keys(view_key)
        losses: dict[str, Tensor] = {}
        # The plain pass comes first: forward hooks on the backbone use the first pass of a step.
        if self.head.plain_weight:
            losses.update(self.head.loss(self.embed_queries(view_query), keys, queue))
        targets = keys if self.pipeline == "cross" else self.embed_keys(view_query)[1]
        losses.update(self.mixed_losses(MixingStep(view_query, targets, queue, labels)))
        if source is not None:
            losses.update(source.loss(features, labels))
        if self.training:
            self.queues[0].enqueue(keys)
            if source is not None:
                losses.update(source.update(data_samples, keys))
        return losses

    def mixed_losses(self, step: MixingStep) -> dict[str, Tensor]:
        """Mix the step's images and return the named losses of the mixtures."""
        raise NotImplementedError

    def embed_queries(self, images: Tensor) -> Tensor:
        """Unit vectors (N, D) of images (N, C, H, W), from the online network."""
        return unit_rows(self.project(self.extract_embedding(images)))

    def embed_keys(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (N, C) and unit vectors (N, D) of the key network, in shuffled batches."""
        features, keys = shuffled(self._features_and_keys, images)
        return features, keys

    def embed_frozen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (N, C) and unit vectors (N, D) of the key network, with gradient to the images.

        Call it inside :func:`ssl_ext.models.utils.frozen`.
        """
        return self._features_and_keys(images)

    def between_steps(self, step: int) -> None:
        """Recompute the centroids every few steps."""
        if self.label_source is not None:
            self.label_source.between_steps(step)

    def _features_and_keys(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = pool_features(self.key_network.backbone(images))
        return features, unit_rows(self.key_network.neck((features,))[0])
