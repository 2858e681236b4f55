"""Cross: cross-view and cross-model prediction, the two-branch baseline of TriBYOL."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .byol import BYOL


@MODELS.register_module()
class Cross(BYOL):
    """BYOL's networks with two kinds of prediction.

    L = ½ [ℓ(p1, z2) + ℓ(p2, z1)] + ½ [ℓ(p1, t(v1)) + ℓ(p2, t(v2))], ℓ(p, z) = 2 - 2 cos(p, sg z).

    The cross-view term predicts the online network's projection of the other view, the cross-model term the
    target network's projection of the same view. The TriBYOL poster names the method without equations; we
    assume equal weights for both terms and a stop-gradient on all targets, for the online projections as in
    SimSiam.

    Args:
        predictor: Config of the predictor.
        momentum: EMA momentum of the target, in [0, 1].
        momentum_schedule: ``'constant'``, or ``'cosine'`` up to 1 over the run.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.
    """

    def __init__(self, *, momentum_schedule: str = "constant", **kwargs) -> None:
        super().__init__(momentum_schedule=momentum_schedule, **kwargs)

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of two views, each (N, C, H, W)."""
        view1, view2 = inputs
        (z1, p1), (z2, p2) = self.online(view1), self.online(view2)
        (t1,), (t2,) = self.target(view1), self.target(view2)
        return self.head.loss(weight=0.5, cross_view=[(p1, z2), (p2, z1)], cross_model=[(p1, t1), (p2, t2)])
