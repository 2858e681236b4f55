"""SimCLR (Chen et al., 2020), and its form with two projectors (Jiang et al., "Beyond linear metric")."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .two_views import TwoViewModel


@MODELS.register_module()
class SimCLR(TwoViewModel):
    """Classify each view's positive among the 2N − 1 other views, with :class:`SimCLRHead`.

    MMPretrain's class of this name joins the views in one pass, so that their batch statistics mix, and on
    W processes its gather gives 1/W of the gradient; here both are those of one process on the joined batch.
    """

    batch_dependence = "the negatives of a view are the other views of its batch"


@MODELS.register_module()
class JaccardSimCLR(SimCLR):
    """SimCLR with the neck :class:`BiProjector` and three terms: one for each projector, one for J."""

    def embed(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs (N, D) of both projectors."""
        return self.neck((self.extract_embedding(images),))
