"""Barlow Twins (Zbontar et al., 2021)."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import barlow_twins_terms
from ssl_ext.registry import MODELS

from .two_views import TwoViewModel


@MODELS.register_module()
class BarlowTwins(TwoViewModel):
    """Two views through one network; their cross-correlation is trained towards the identity.

    The cross-correlation and its gradient are those of the batch of all processes (MMPretrain's class of this
    name gives 1/W of the gradient on W processes).
    """

    batch_dependence = "the cross-correlation is that of a batch"


@MODELS.register_module()
class BarlowTwinsHead(BaseModule):
    """L_BT = invariance + α · redundancy.

    Args:
        redundancy_weight: α, the weight of the off-diagonal term.
        eps: Added to the variance before the square root when embeddings are standardised.
    """

    def __init__(self, redundancy_weight: float = 5e-3, eps: float = 1e-5) -> None:
        super().__init__()
        self.redundancy_weight = redundancy_weight
        self.eps = eps

    def loss(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Weighted terms for projector outputs of two views, each (N, D)."""
        invariance, redundancy = barlow_twins_terms(z1, z2, eps=self.eps)
        return dict(loss_invariance=invariance, loss_redundancy=self.redundancy_weight * redundancy)
