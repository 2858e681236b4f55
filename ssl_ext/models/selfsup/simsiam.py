"""SimSiam (Chen and He, 2021)."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .prediction import PredictionModel


@MODELS.register_module()
class SimSiam(PredictionModel):
    """The network predicts its own projection of the other view, with a stop-gradient on the target.

    L = ¼ ℓ(p1, z2) + ¼ ℓ(p2, z1), ℓ(p, z) = 2 - 2 cos(p, sg z). This is 1 plus the paper's Eq. 4,
    ½ D(p1, sg z2) + ½ D(p2, sg z1) with D = -cos, so gradients are equal and its learning rates apply.

    Args:
        predictor: Config of the predictor.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.
    """

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        (z1, p1), (z2, p2) = self.online(view1), self.online(view2)
        return self.head.loss(weight=0.25, prediction=[(p1, z2), (p2, z1)])
