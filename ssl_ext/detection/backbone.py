"""ResNets as the backbone of a detector."""

from __future__ import annotations

import math
from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR

from ssl_ext.models.backbones import ResNet_CIFAR_MaxPool
from ssl_ext.registry import MODELS


def build_backbone(config: dict, layout: str) -> Any:
    """Build a ResNet with BN and no frozen layers that returns ``layer3`` (C4) or all four stages (FPN)."""
    settings = dict(
        config,
        num_stages=4,
        out_indices=(2,) if layout == "C4" else (0, 1, 2, 3),
        frozen_stages=-1,
        norm_eval=False,
        norm_cfg=dict(type="BN", requires_grad=True),
    )
    backbone = MODELS.build(settings)
    if layout == "C4":
        # layer4 runs in the second stage; the backbone only holds its weights.
        backbone.res_layers = backbone.res_layers[:3]
    return backbone


def stage_channels(backbone: Any, stage: int) -> int:
    """Number of output channels of stage 1 to 4."""
    return getattr(backbone, f"layer{stage}")[-1].out_channels


def c4_stride(backbone: Any) -> int:
    """Stride in pixels of the output of ``layer3``: 16, 4 with a CIFAR stem, or 8 if that pools."""
    small, pooled = (isinstance(backbone, kind) for kind in (ResNet_CIFAR, ResNet_CIFAR_MaxPool))
    return (1 if small else 2 if pooled else 4) * math.prod(backbone.strides[:3])
