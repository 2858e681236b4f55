"""``torch.compile`` for backbones and colour jitter."""

from __future__ import annotations

from typing import Any

from torch import nn

from ssl_ext.augment import ColorJitter


def compile_model(model: nn.Module, **settings: Any) -> None:
    """Compile every backbone of ``model``, including EMA copies, without renaming the state dict.

    On accelerators the arithmetic of colour jitter is compiled too. Losses and queues are not: they take
    little time, and some would be recompiled every step.

    Args:
        model: Algorithm with one or more modules called ``backbone``.
        settings: Arguments of ``torch.compile``, such as ``backend`` and ``mode``.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "backbone":
            module.compile(**settings)
        elif isinstance(module, ColorJitter):
            module.compile_steps(**settings)
