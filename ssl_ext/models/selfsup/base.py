"""What every self-supervised algorithm of this project shares."""

from __future__ import annotations

from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor

from ssl_ext.models.utils import pool_features


class SelfSupervisedModel(BaseSelfSupervisor):
    """Backbone, neck (projector) and head; subclasses say which network sees which view."""

    def extract_embedding(self, images: Tensor) -> Tensor:
        """Backbone features y after pooling, (N, C), of normalised images (N, channels, H, W)."""
        return pool_features(self.backbone(images))

    def project(self, features: Tensor) -> Tensor:
        """Projector output z, (N, D), of pooled features y (N, C)."""
        return self.neck((features,))[0]
