"""BYOL (Grill et al., 2020)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.models.utils import MomentumNetwork
from ssl_ext.registry import MODELS

from .base import EMAModel
from .prediction import PredictionModel


@MODELS.register_module()
class BYOL(EMAModel, PredictionModel):
    """The online network predicts the EMA target's projection of the other view.

    L = ℓ(p1, t(v2)) + ℓ(p2, t(v1)), ℓ(p, z) = 2 - 2 cos(p, sg z) (its Eq. 2, both directions).

    Args:
        predictor: Config of the predictor.
        momentum: EMA momentum of the target, in [0, 1].
        momentum_schedule: ``'cosine'`` (to 1 over the run, as in the paper) or ``'constant'``.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: A momentum out of range, an unknown schedule, or a predictor that does not fit.
    """

    def __init__(
        self, *, predictor: dict, momentum: float = 0.996, momentum_schedule: str = "cosine", **kwargs
    ) -> None:
        super().__init__(
            predictor=predictor, momentum=momentum, momentum_schedule=momentum_schedule, **kwargs
        )
        self.target = MomentumNetwork(self.backbone, self.neck)

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        (_, p1), (_, p2) = self.online(view1), self.online(view2)
        (t1,), (t2,) = self.target(view1), self.target(view2)
        return self.head.loss(prediction=[(p1, t2), (p2, t1)])
