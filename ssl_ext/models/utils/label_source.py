"""Labels for self-supervised algorithms: clusters of their embeddings, or ground truth."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_ext.losses import all_reduce_mean, mean_over

from .cluster_bank import ClusterBank

SOURCES = ("pseudo", "ground-truth")


class LabelSource(nn.Module):
    """Labels of a batch, and a linear classifier trained to predict them from given features.

    The features are detached, so the network gets no gradient from the labels.

    Args:
        source: ``'pseudo'`` (a :class:`ClusterBank` of the embeddings) or ``'ground-truth'``.
        num_classes: Number of clusters or classes.
        in_channels: C, size of the classifier's input features.
        dim: D, size of the embeddings that are clustered.
        classifier: Build and train the classifier.
        momentum: Momentum of the moving averages in the bank, at least 0 and below 1.
        min_size: Smaller clusters are dissolved.
        interval: Optimiser steps between two updates of the centroids.

    Raises:
        ValueError: An unknown source or a number out of range.
    """

    def __init__(
        self,
        source: str,
        num_classes: int,
        *,
        in_channels: int,
        dim: int,
        classifier: bool = True,
        momentum: float = 0.5,
        min_size: int = 20,
        interval: int = 10,
    ) -> None:
        super().__init__()
        if source not in SOURCES:
            raise ValueError(f"model.labels.source is {source!r}; allowed are {', '.join(SOURCES)}.")
        for key, value, smallest in (
            ("num_classes", num_classes, 2),
            ("min_size", min_size, 1),
            ("interval", interval, 1),
        ):
            if not isinstance(value, int) or value < smallest:
                raise ValueError(f"model.labels.{key} is {value!r}; it must be at least {smallest}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"model.labels.momentum is {momentum}; it must be at least 0 and below 1.")
        self.source, self.num_classes, self.dim, self.interval = source, num_classes, dim, interval
        self.settings: dict[str, Any] = dict(
            momentum=momentum, min_size=min_size, key="model.labels.num_classes"
        )
        self.classifier = nn.Linear(in_channels, num_classes) if classifier else None
        self.bank: ClusterBank | None = None
        self.partial = False

    @property
    def clusters(self) -> bool:
        """True if labels are clusters."""
        return self.source == "pseudo"

    def set_dataset_size(self, size: int) -> None:
        """Create the cluster bank, if labels are clusters, for ``size`` images."""
        if self.clusters:
            device = next(iter(self.parameters()), torch.zeros(())).device
            self.bank = ClusterBank(size, self.dim, self.num_classes, **self.settings).to(device)

    def check_dataset(self, dataset: Any) -> None:
        """Check the classes of the training images, if labels are ground truth.

        Some images may be unlabelled (label −1).

        Raises:
            ValueError: No image with a label, several labels an image, or another number of classes.
        """
        if self.clusters:
            return
        labels = torch.as_tensor(dataset.labels)
        if labels.ndim != 1 or not bool((labels >= 0).any()):
            raise ValueError(
                "model.labels.source='ground-truth' needs training images with one class each, but none is "
                "labelled, or images have several labels."
            )
        self.partial = bool((labels < 0).any())
        if dataset.num_classes != self.num_classes:
            raise ValueError(
                f"the images have {dataset.num_classes} classes and model.labels.num_classes is "
                f"{self.num_classes}: set model.labels.num_classes={dataset.num_classes}."
            )

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image index outside the bank."""
        if self.bank is not None and "indices" in batch:
            self.bank.check(batch["indices"])

    def labels_for(self, data_samples: dict | None) -> Tensor:
        """Labels (N,) int64 of the batch.

        Raises:
            RuntimeError: There is no bank yet.
            ValueError: The batch lacks the indices or labels that the source needs.
        """
        key = "indices" if self.clusters else "labels"
        values = (data_samples or {}).get(key)
        if values is None:
            raise ValueError(
                f"model.labels.source={self.source!r} needs data_samples[{key!r}]: train_dataloader.dataset "
                f"must give {key!r}."
            )
        if not self.clusters:
            return values
        if self.bank is None:
            raise RuntimeError("There are no clusters yet: call set_dataset_size(number of images) first.")
        return self.bank.labels[values]

    def loss(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the classifier on detached features (N, C); empty without a classifier."""
        if self.classifier is None:
            return {}
        logits = self.classifier(features.detach()).float()
        if (known := self.known(labels)) is None:
            return dict(loss_classifier=all_reduce_mean(F.cross_entropy(logits, labels)))
        losses = F.cross_entropy(logits, labels.clamp(min=0), reduction="none")
        return dict(loss_classifier=mean_over(losses, known))

    def known(self, labels: Tensor | None) -> Tensor | None:
        """Mask (N,) of the labelled images; None if the whole data set is labelled."""
        return labels >= 0 if self.partial and labels is not None else None

    def update(self, data_samples: dict, embeddings: Tensor) -> dict[str, Tensor]:
        """Update the clusters with embeddings (N, D) of the batch; return statistics to log."""
        if self.bank is None:
            return {}
        return dict(label_changes=self.bank.update(data_samples["indices"], embeddings))

    def between_steps(self, step: int) -> None:
        """Recompute the centroids every ``interval`` steps."""
        if self.bank is not None and step % self.interval == 0:
            self.bank.refresh()
