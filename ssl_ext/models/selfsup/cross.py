"""Cross: cross-view and cross-model prediction, the two-branch method that TriBYOL compares with."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.registry import MODELS

from .byol import BYOL


@MODELS.register_module()
class Cross(BYOL):
    """BYOL's networks with two kinds of prediction.

    L = ½ [ℓ(p1, z2) + ℓ(p2, z1)] + ½ [ℓ(p1, t(v1)) + ℓ(p2, t(v2))], ℓ(p, z) = 2 - 2 cos(p, sg z).

    The cross-view term stays inside the online network, which predicts its projection of the other
    view; the cross-model term predicts the target network's projection of the same view. The TriBYOL
    poster names the method without equations. This is the reading: both terms weigh the same, and a
    gradient reaches the network through its predictions only, never through what is predicted, be it
    the target network's projection or the online one's (there for the same reason as in SimSiam).

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
