"""LARS, layer-wise adaptive rate scaling for large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ssl_ext.registry import OPTIMIZERS
from ssl_ext.values import is_number


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD with momentum whose rate for every tensor w is lr · η‖w‖ / (‖g‖ + β‖w‖ + ε).

    You, Gitman, Ginsburg, *Large batch training of convolutional networks*, 2017, Algorithm 1, with gradient
    g and weight decay β; the momentum buffer accumulates updates that include the rate. Tensors with weight
    or gradient norm 0, and parameters of groups with ``lars_exclude=True``, use lr alone.

    All tensors of all groups are updated together in a few kernels without host syncs. MMPretrain's optimiser
    of this name syncs twice for every tensor.

    Args:
        params: Parameters, or dicts of parameter groups, which may have ``lars_exclude``.
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        weight_decay: β, at least 0.
        eta: Trust coefficient η, above 0.
        eps: ε, at least 0.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
        eps: float = 1e-8,
    ) -> None:
        for name, value, right, need in (
            ("lr", lr, is_number(lr) and lr > 0, "above 0"),
            ("momentum", momentum, is_number(momentum) and 0 <= momentum < 1, "from 0 to below 1"),
            ("weight_decay", weight_decay, is_number(weight_decay) and weight_decay >= 0, "of at least 0"),
            ("eta", eta, is_number(eta) and eta > 0, "above 0"),
            ("eps", eps, is_number(eps) and eps >= 0, "of at least 0"),
        ):
            if not right:
                raise ValueError(f"optim_wrapper.optimizer.{name}={value!r}: a number {need} is needed")
        settings = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta, eps=eps)
        super().__init__(params, dict(settings, lars_exclude=False))

    # Learning rates are 0-dim tensors in a captured step.
    tensor_rates = True

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; return the result of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        used = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not used:
            return loss
        weights, groups = [p for p, _ in used], [group for _, group in used]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[p]["momentum_buffer"] for p in weights]
        moves = torch._foreach_mul(weights, [group["weight_decay"] for group in groups])
        torch._foreach_add_(moves, [p.grad for p in weights])
        adapted = [index for index, group in enumerate(groups) if not group["lars_exclude"]]
        if adapted:
            rates = _trust(*([values[i] for i in adapted] for values in (weights, groups)))
            torch._foreach_mul_([moves[i] for i in adapted], rates)
        # One product for all groups with the same learning rate, a number or a tensor.
        shared: dict[Any, tuple[Any, list[Tensor]]] = {}
        for move, group in zip(moves, groups, strict=True):
            rate = group["lr"]
            shared.setdefault(id(rate) if torch.is_tensor(rate) else rate, (rate, []))[1].append(move)
        for rate, parts in shared.values():
            torch._foreach_mul_(parts, rate)
        torch._foreach_mul_(buffers, [group["momentum"] for group in groups])
        torch._foreach_add_(buffers, moves)
        torch._foreach_sub_(weights, buffers)
        return loss


def _trust(weights: list[Tensor], groups: list[dict]) -> list[Tensor]:
    """η‖w‖ / (‖g‖ + β‖w‖ + ε), or 1 where a norm is 0, as a 0-dim tensor for every weight."""
    norms, gradients = torch._foreach_norm(weights), torch._foreach_norm([p.grad for p in weights])
    below = torch._foreach_mul(norms, [group["weight_decay"] for group in groups])
    torch._foreach_add_(below, gradients)
    torch._foreach_add_(below, [group["eps"] for group in groups])
    above = torch._foreach_mul(norms, [group["eta"] for group in groups])
    nothing = (torch.stack(norms) == 0) | (torch.stack(gradients) == 0)
    rates = torch.where(nothing, 1.0, torch.stack(above) / torch.stack(below))
    return list(rates.unbind())
