"""Optimiser wrappers without host syncs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mmengine.optim
import torch
from torch import Tensor, nn

from ssl_ext.registry import OPTIM_WRAPPERS

# Optimiser states of SGD and Adam with running means of gradients.
MOMENTA = {"momentum_buffer", "exp_avg"}


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(mmengine.optim.OptimWrapper):
    """MMEngine's wrapper, except that clipping leaves the gradients' norm on the device.

    ``grad_norm`` holds the norm after an update, for the log; MMEngine reads it on the host at every step.
    With ``keep_gradients`` gradients are zeroed in place and not freed, so their addresses are fixed.
    """

    keep_gradients = False
    grad_norm: Tensor | None = None

    def zero_grad(self, **kwargs: Any) -> None:
        """Free the gradients, or set them to zero in place."""
        super().zero_grad(**{"set_to_none": not self.keep_gradients, **kwargs})

    def step(self, **kwargs: Any) -> None:
        """Update, clamp parameters with ``bounds``, and reset their momentum at a bound.

        Otherwise momentum would keep a parameter at its bound after the gradient has changed sign.
        """
        super().step(**kwargs)
        for p in self._bounded():
            low, high = p.bounds
            with torch.no_grad():
                inside = (p > low) & (p < high)
                p.clamp_(low, high)
                for name in MOMENTA & self.optimizer.state[p].keys():
                    if (momentum := self.optimizer.state[p][name]) is not None:
                        momentum.mul_(inside)

    def _bounded(self) -> list[Any]:
        groups = self.optimizer.param_groups
        return [p for group in groups for p in group["params"] if hasattr(p, "bounds") and p.grad is not None]

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        used = [p for group in groups for p in group["params"] if p.requires_grad and p.grad is not None]
        if used:
            self.grad_norm = self.clip_func(used, **self.clip_grad_kwargs)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Automatic mixed precision in bfloat16, whose range needs no loss scaling.

    Weights are cast once per step. Autocast caches only casts of weights that require a gradient; the other
    weights, mainly those of EMA networks, are cast here in one operation.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.casts: dict[nn.Parameter, Tensor] = {}

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast to bfloat16 in the forward pass of a step, views included."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16), self._cast_frozen(model):
            yield

    @contextmanager
    def _cast_frozen(self, model: nn.Module) -> Iterator[None]:
        frozen = [
            (module, name, weight)
            for module in model.modules()
            if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
            for name, weight in module._parameters.items()
            if weight is not None and not weight.requires_grad
        ]
        weights = [weight for _, _, weight in frozen]
        for weight in weights:
            if weight not in self.casts:
                self.casts[weight] = torch.empty_like(weight, dtype=torch.bfloat16)
        if weights:
            torch._foreach_copy_([self.casts[weight] for weight in weights], weights)
        try:
            for module, name, weight in frozen:
                module._parameters[name] = self.casts[weight]  # type: ignore[assignment]
            yield
        finally:
            for module, name, weight in frozen:
                module._parameters[name] = weight
