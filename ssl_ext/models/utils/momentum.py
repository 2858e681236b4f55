"""Exponential moving averages (EMA) of networks."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from .pooling import pool_features

SCHEDULES = ("constant", "cosine")


class MomentumNetwork(nn.Module):
    """EMA of a backbone and its neck, without gradient.

    :meth:`update` changes the parameters; the running statistics of normalisation layers come from the EMA
    network's own forward passes.

    Args:
        backbone: Network to copy.
        neck: Projector to copy; it maps a tuple to a tuple, as MMPretrain's necks do.
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.neck = copy.deepcopy(neck)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the neck, each (N, D), for normalised images (N, C, H, W); without gradient."""
        return self.neck((pool_features(self.backbone(images)),))

    @torch.no_grad()
    def copy_from(self, backbone: nn.Module, neck: nn.Module) -> None:
        """Copy all parameters and buffers of a network."""
        self.backbone.load_state_dict(backbone.state_dict())
        self.neck.load_state_dict(neck.state_dict())

    @torch.no_grad()
    def update(self, backbone: nn.Module, neck: nn.Module, momentum: Tensor) -> None:
        """Set the parameters to momentum · own + (1 − momentum) · given.

        Args:
            backbone: Online backbone.
            neck: Online neck.
            momentum: 0-dim float64 tensor on the device, so that a replayed step reads its current value.
        """
        own = [*self.backbone.parameters(), *self.neck.parameters()]
        given = [*backbone.parameters(), *neck.parameters()]
        weight = (1 - momentum).to(own[0].dtype)
        if own[0].is_cpu:
            weights = [weight] * len(own)
        else:
            # One fused kernel takes tensors that are laid out alike only; all weights share the same memory.
            same = weight.expand(max(value.numel() for value in own)).contiguous()
            weights = [same[: value.numel()].as_strided(value.shape, value.stride()) for value in own]
        torch._foreach_lerp_(own, given, weights)


def momentum_at(step: int, max_steps: int, momentum: float, schedule: str = "constant") -> float:
    """Momentum of the update after optimiser step ``step`` (counted from 1) of ``max_steps``.

    ``'cosine'`` rises from ``momentum`` to 1: 1 − (1 − m) · (cos(π · (step − 1) / max_steps) + 1) / 2
    (BYOL, Sec. 3.2).

    >>> momentum_at(1, 100, 0.996, "cosine"), momentum_at(51, 100, 0.996, "cosine")
    (0.996, 0.998)
    """
    if schedule == "constant":
        return momentum
    return 1 - (1 - momentum) * (math.cos(math.pi * (step - 1) / max_steps) + 1) / 2


def check_momentum(momentum: float, schedule: str) -> None:
    """Raise ValueError unless the momentum is in [0, 1] and the schedule is known."""
    if not 0 <= momentum <= 1:
        raise ValueError(f"model.momentum is {momentum}; it must be between 0 and 1.")
    if schedule not in SCHEDULES:
        raise ValueError(f"model.momentum_schedule is {schedule!r}; allowed are {', '.join(SCHEDULES)}.")
