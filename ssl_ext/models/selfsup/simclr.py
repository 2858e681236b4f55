"""SimCLR (Chen et al., 2020), and its form with two projectors (Jiang et al., "Beyond linear metric")."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .two_views import TwoViewModel


@MODELS.register_module()
class SimCLR(TwoViewModel):
    """Classify each view's positive among the 2N − 1 other views, with :class:`SimCLRHead`.

    Batch statistics are computed per view and the gradient is that of one process on the joined batch.
    MMPretrain's class of this name computes them over both views and gives 1/W of the gradient on W
    processes.
    """

    batch_dependence = "the negatives of a view are the other views of its batch"


@MODELS.register_module()
class JaccardSimCLR(SimCLR):
    """SimCLR with the neck :class:`BiProjector` and three terms: one per projector and one for J."""

    def embed(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs (N, D) of both projectors."""
        return self.neck((self.extract_embedding(images),))
