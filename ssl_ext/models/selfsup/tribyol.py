"""TriBYOL: BYOL with three views and two target networks, for small batches."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor, nn

from ssl_ext.models.utils import MomentumNetwork
from ssl_ext.registry import MODELS

from .base import EMAModel
from .prediction import PredictionModel


@MODELS.register_module()
class TriBYOL(EMAModel, PredictionModel):
    """The online network predicts the projections of two other views by two EMA targets.

    With ℓ(p, z) = 2 - 2 cos(p, sg z), pᵢ the prediction for view i and t1, t2 the targets:

    - symmetric: L = ½ [ℓ(p1, t1(v2)) + ℓ(p2, t1(v1))] + ½ [ℓ(p1, t2(v3)) + ℓ(p3, t2(v1))];
    - otherwise: L = ℓ(p1, t1(v2)) + ℓ(p1, t2(v3)), with the first view only in the online network.

    Args:
        predictor: Config of the predictor.
        symmetric: Predict in both directions.
        target_update: ``'all'``: both targets are updated after every step; ``'alternate'``: target 1 is
            updated after odd optimiser steps, target 2 after even steps, each with the squared momentum, so
            that a target is updated at the same rate as with ``'all'``.
        target_init: ``'online'``: both targets start from the online network's weights; with
            ``target_update='all'`` they stay equal and are stored as one. ``'independent'``: each starts
            from different random weights.
        momentum: EMA momentum of the targets, in [0, 1].
        momentum_schedule: ``'constant'``, or ``'cosine'`` to 1 over the run.
        **kwargs: ``backbone``, ``neck``, ``head`` and ``data_preprocessor`` configs.

    Raises:
        ValueError: A momentum out of range, an unknown schedule, ``target_update`` or ``target_init``, or
            a predictor that does not fit.
    """

    num_views = 3

    def __init__(
        self,
        *,
        predictor: dict,
        symmetric: bool = True,
        target_update: str = "all",
        target_init: str = "online",
        momentum: float = 0.996,
        momentum_schedule: str = "constant",
        **kwargs,
    ) -> None:
        if target_update not in ("all", "alternate"):
            raise ValueError(f"model.target_update is {target_update!r}; allowed are 'all' and 'alternate'.")
        if target_init not in ("online", "independent"):
            raise ValueError(f"model.target_init is {target_init!r}; allowed are 'online', 'independent'.")
        super().__init__(
            predictor=predictor, momentum=momentum, momentum_schedule=momentum_schedule, **kwargs
        )
        self.symmetric = symmetric
        self.alternate = target_update == "alternate"
        self.independent = target_init == "independent"
        count = 2 if self.alternate or self.independent else 1
        self.targets = nn.ModuleList(MomentumNetwork(self.backbone, self.neck) for _ in range(count))
        self.before_step(1, 1)

    def init_weights(self) -> None:
        """Initialise the network, and the targets from it or independently."""
        super().init_weights()
        for target in self.targets if self.independent else ():
            for network in (target.backbone, target.neck):
                network.apply(_reset)
                network.init_weights()

    def sync_ema(self) -> None:
        """Copy the online weights into both targets, unless they are independent."""
        if not self.independent:
            super().sync_ema()

    def step_variant(self, step: int, iteration: int) -> Hashable:
        """Index of the target that is updated after optimiser step ``step``; None for all."""
        return (step - 1) % 2 if self.alternate else None

    def updated_networks(self) -> list[MomentumNetwork]:
        """Targets to update after this step."""
        return [self.targets[self.variant]] if self.alternate else list(self.targets)

    def step_numbers(self, step: int, max_steps: int) -> dict[str, float]:
        """The EMA momentum of the step; squared for a target that is updated after every second step."""
        numbers = super().step_numbers(step, max_steps)
        return dict(numbers, momentum=numbers["momentum"] ** (2 if self.alternate else 1))

    def loss(self, inputs: list[Tensor], data_samples: dict | None = None) -> dict[str, Tensor]:
        """Named, weighted loss terms of three views, each (N, C, H, W)."""
        view1, view2, view3 = inputs
        target1, target2 = self.targets[0], self.targets[-1]
        _, p1 = self.online(view1)
        (t1_v2,), (t2_v3,) = target1(view2), target2(view3)
        if not self.symmetric:
            return self.head.loss(target1=[(p1, t1_v2)], target2=[(p1, t2_v3)])
        (_, p2), (_, p3) = self.online(view2), self.online(view3)
        (t1_v1,) = target1(view1)
        (t2_v1,) = target2(view1) if target2 is not target1 else (t1_v1,)
        return self.head.loss(
            weight=0.5, target1=[(p1, t1_v2), (p2, t1_v1)], target2=[(p1, t2_v3), (p3, t2_v1)]
        )


def _reset(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
