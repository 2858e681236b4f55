"""ODC (Zhan et al., 2020)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.models.utils import ClusterBank
from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class ODC(SelfSupervisedModel):
    """Online deep clustering: learn the clusters that the embeddings of all images form at this moment.

    Every step classifies one view of each image into its cluster (the head), moves its entry of a bank
    towards the new embedding, and gives it the cluster of the nearest centroid; centroids are renewed
    every few steps (:class:`ClusterBank`). The first clusters come from k-means on the embeddings of the
    untrained network: call :meth:`set_dataset_size` before training or before a state is loaded, and
    ``cluster_bank.start`` before the first step (a hook of the runner does).

    Args:
        neck: Config with ``out_channels``, the size of the embeddings.
        bank_momentum: m of the bank's moving averages, at least 0 and below 1.
        min_size: A smaller cluster is dissolved.
        interval: Centroids are renewed after so many optimiser steps.
        **kwargs: ``backbone``, ``head`` (its ``num_clusters`` is K) and ``data_preprocessor`` configs.

    Raises:
        ValueError: A neck without ``out_channels``, or a number out of range.
    """

    num_views = 1
    uses_indices = True

    def __init__(
        self,
        *,
        neck: dict,
        bank_momentum: float = 0.5,
        min_size: int = 20,
        interval: int = 10,
        **kwargs,
    ) -> None:
        if "out_channels" not in neck:
            raise ValueError("model.neck has no out_channels, the size of the embeddings.")
        if not 0 <= bank_momentum < 1:
            raise ValueError(f"model.bank_momentum is {bank_momentum}; it must be at least 0 and below 1.")
        for key, value in (("min_size", min_size), ("interval", interval)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"model.{key} is {value!r}; it must be at least 1.")
        self.dim = neck["out_channels"]
        super().__init__(neck=neck, **kwargs)
        self.settings = dict(momentum=bank_momentum, min_size=min_size)
        self.interval = interval

    @property
    def cluster_bank(self) -> ClusterBank | None:
        """The clusters; None before :meth:`set_dataset_size`."""
        return self._modules.get("cluster_bank")

    @property
    def batch_dependence(self) -> str | None:
        """An image's weight by the size of its cluster is relative to its batch; equal weights are not."""
        return (
            "the weights of images by the sizes of their clusters sum to 1 over a batch"
            if self.head.power
            else None
        )

    def set_dataset_size(self, size: int) -> None:
        """Start a bank for ``size`` images."""
        device = next(self.parameters()).device
        bank = ClusterBank(size, self.dim, self.head.num_clusters, **self.settings)
        self._modules["cluster_bank"] = bank.to(device)

    def check_batch(self, batch: dict) -> None:
        """Raise IndexError for an image that has no entry in the bank."""
        if self.cluster_bank is not None and "indices" in batch:
            self.cluster_bank.check(batch["indices"])

    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """What the bank keeps of normalised images (N, C, H, W): (N, D)."""
        return self.project(self.extract_embedding(images))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named loss of one view (N, C, H, W) and ``data_samples['indices']`` (N,), and what is logged.

        Raises:
            RuntimeError: There is no bank yet.
            ValueError: The batch has no indices.
        """
        if self.cluster_bank is None:
            raise RuntimeError("ODC has no clusters: call set_dataset_size(number of images) first.")
        if not data_samples or data_samples.get("indices") is None:
            raise ValueError(
                "ODC needs data_samples['indices'], the row of each image in the data set: "
                "train_dataloader.dataset must give 'indices'."
            )
        (images,), indices, bank = inputs, data_samples["indices"], self.cluster_bank
        embeddings = self.embed_for_clusters(images)
        losses = self.head.loss(embeddings, bank.labels[indices], bank.counts())
        if self.training:
            losses["label_changes"] = bank.update(indices, embeddings)
        return losses

    def between_steps(self, step: int) -> None:
        """Renew the centroids every ``interval`` steps."""
        if self.cluster_bank is not None and step % self.interval == 0:
            self.cluster_bank.refresh()
