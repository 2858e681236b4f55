"""Base of the algorithms that compare two views of one network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import SelfSupervisedModel


class TwoViewModel(SelfSupervisedModel):
    """Two views through one network, in separate passes; the head compares their embeddings."""

    num_views = 2

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        return self.head.loss(*(self.embed(view) for view in inputs))

    def embed(self, images: Tensor) -> Any:
        """Projector outputs (N, D) of a view (N, C, H, W), the head's input."""
        return self.project(self.extract_embedding(images))
