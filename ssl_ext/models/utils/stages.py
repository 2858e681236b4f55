"""Stages of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """Stages of a ResNet (``res_layers``) or blocks of a vision transformer (``layers``), else empty."""
    stages = getattr(backbone, "res_layers", None) or getattr(backbone, "layers", ())
    return [getattr(backbone, stage) if isinstance(stage, str) else stage for stage in stages]


def count_stages(backbone: nn.Module) -> int:
    """Number of stages of a ResNet; 0 for other backbones."""
    return len(getattr(backbone, "res_layers", ()))


def stage_features(backbone: nn.Module, images: Tensor, stage: int) -> Tensor:
    """Feature maps (N, C, h, w) after ``stage``; later stages are not computed.

    Args:
        backbone: MMPretrain's ResNet, or a backbone with the same attributes.
        images: (N, channels, H, W), normalised.
        stage: From 1 to ``count_stages(backbone)``.
    """
    layers, indices = backbone.res_layers, backbone.out_indices
    backbone.res_layers, backbone.out_indices = layers[:stage], (stage - 1,)
    try:
        return backbone(images)[-1]
    finally:
        backbone.res_layers, backbone.out_indices = layers, indices


@contextmanager
def stage_replaced(backbone: nn.Module, stage: int, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the output of ``stage`` (counted from 1) by ``function(output)`` inside."""
    layer = getattr(backbone, backbone.res_layers[stage - 1])
    handle = layer.register_forward_hook(lambda module, inputs, output: function(output))
    try:
        # A compiled backbone would ignore hooks that are added later.
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        handle.remove()
