"""Barlow Twins (Zbontar et al., 2021)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class BarlowTwins(SelfSupervisedModel):
    """Two views through one network; the head compares the two batches of embeddings.

    The cross-correlation is that of the batch joined over all processes, and so is its gradient
    (MMPretrain's class of this name gives 1/W of it on W processes).
    """

    num_views = 2
    batch_dependence = "the cross-correlation is that of a batch"

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        z1 = self.project(self.extract_embedding(view1))
        z2 = self.project(self.extract_embedding(view2))
        return self.head.loss(z1, z2)
