"""SimCLR (Chen et al., 2020), and its form with two projectors (Jiang et al., "Beyond linear metric")."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .base import SelfSupervisedModel


@MODELS.register_module()
class SimCLR(SelfSupervisedModel):
    """Two views through one network, in two passes; every view must find its sister among all others.

    MMPretrain's class of this name joins the views in one pass, so that their batch statistics mix, and on
    W processes its gather gives 1/W of the gradient; here both are those of one process on the joined batch.
    """

    num_views = 2
    batch_dependence = "the negatives of a view are the other views of its batch"

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        z1 = self.project(self.extract_embedding(view1))
        z2 = self.project(self.extract_embedding(view2))
        return self.head.loss(z1, z2)


@MODELS.register_module()
class JaccardSimCLR(SelfSupervisedModel):
    """SimCLR with the neck :class:`BiProjector` and three terms: each projector's own, and J's."""

    num_views = 2
    batch_dependence = "the negatives of a view are the other views of its batch"

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        embeddings1 = self.neck((self.extract_embedding(view1),))
        embeddings2 = self.neck((self.extract_embedding(view2),))
        return self.head.loss(embeddings1, embeddings2)
