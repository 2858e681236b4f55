"""``torch.compile`` for backbones."""

from __future__ import annotations

from typing import Any

from torch import nn


def compile_backbones(model: nn.Module, **settings: Any) -> None:
    """Compile every backbone of ``model``, including EMA copies, without renaming the state dict.

    Losses and queues are not compiled: they take little time, and some would be recompiled every step.

    Args:
        model: Algorithm with one or more modules called ``backbone``.
        settings: Arguments of ``torch.compile``, such as ``backend`` and ``mode``.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "backbone":
            module.compile(**settings)
