"""``torch.compile`` where the time of a step is spent."""

from __future__ import annotations

from typing import Any

from torch import nn


def compile_backbones(model: nn.Module, **settings: Any) -> None:
    """Compile every backbone of ``model``, of copies that follow it too; names in the state dict stay.

    Losses, queues and schedules stay as they are: small beside the network, and some change every step.

    Args:
        model: Algorithm with one or more modules called ``backbone``.
        settings: Arguments of ``torch.compile``, such as ``backend`` and ``mode``.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "backbone":
            module.compile(**settings)
