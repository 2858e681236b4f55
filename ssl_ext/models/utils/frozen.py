"""Networks that pass gradients to their input only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Put modules in evaluation mode and freeze their parameters; gradients still reach the input.

    Training modes and ``requires_grad`` are restored on exit.

    >>> import torch
    >>> layer, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    >>> with frozen(layer):
    ...     loss = layer(x).sum()
    >>> loss.backward()
    >>> x.grad is not None, layer.weight.grad, layer.training, layer.weight.requires_grad
    (True, None, True, True)
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    wanted = [(weight, weight.requires_grad) for module in modules for weight in module.parameters()]
    try:
        for part, _ in modes:
            part.training = False
        for weight, _ in wanted:
            weight.requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for weight, want in wanted:
            weight.requires_grad_(want)
