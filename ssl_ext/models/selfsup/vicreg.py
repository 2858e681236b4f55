"""VICReg (Bardes, Ponce and LeCun, 2022)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class VICReg(SelfSupervisedModel):
    """Two views through one network; the head keeps the embeddings' variance and removes covariance."""

    num_views = 2
    batch_dependence = "variance and covariance are those of a batch"

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        z1, z2 = (self.project(self.extract_embedding(view)) for view in inputs)
        return self.head.loss(z1, z2)
