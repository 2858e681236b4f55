"""VICReg (Bardes, Ponce and LeCun, 2022)."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from ssl_ext.losses import vicreg_terms
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative

from .two_views import TwoViewModel


@MODELS.register_module()
class VICReg(TwoViewModel):
    """Two views through one network, with variance and covariance regularisation in the head."""

    batch_dependence = "variance and covariance are those of a batch"


@MODELS.register_module()
class VICRegHead(BaseModule):
    """L = λ · invariance + μ · variance + ν · covariance (Eq. 6 of VICReg).

    Args:
        invariance_weight: λ.
        variance_weight: μ.
        covariance_weight: ν.

    Raises:
        ValueError: A negative weight.
    """

    def __init__(
        self,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = dict(
            invariance=invariance_weight, variance=variance_weight, covariance=covariance_weight
        )
        check_not_negative(
            "model.head", **{f"{term}_weight": weight for term, weight in self.weights.items()}
        )

    def loss(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Weighted terms for projector outputs of two views, each (N, D)."""
        terms = zip(self.weights.items(), vicreg_terms(z1, z2), strict=True)
        return {f"loss_{name}": weight * term for (name, weight), term in terms}
