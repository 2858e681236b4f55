"""Collectives of a training step, counted or in closed form.

``Traffic`` maps kind and result size in bytes (the tensor of an all-reduce or a broadcast, the joined tensor
of an all-gather) to the number of calls per step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Traffic = Mapping[tuple[str, int], float]
FLOAT = 4
# Bytes sent by each process per byte of the result, as a function of the size of the ring.
SENT: dict[str, Callable[[int], float]] = {
    "all_reduce": lambda world: 2 * (world - 1) / world,
    "all_gather": lambda world: (world - 1) / world,
    "broadcast": lambda world: 1.0,
}
# Operators of the namespaces below that only wait for a collective or wrap its result.
NO_COLLECTIVE = ("wait", "wrap", "monitored_barrier")
NAMESPACES = ("c10d", "_c10d_functional")


class CollectiveCounter(TorchDispatchMode):
    """Count collectives inside: of losses, of their backward passes and of DDP's reducer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator; count it if it is a collective."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if func.namespace in NAMESPACES and not any(word in name for word in NO_COLLECTIVE):
            # Operators of c10d write to their first argument, the others return a tensor.
            written = args[0] if func.namespace == "c10d" else result
            size = sum(x.numel() * x.element_size() for x in tree_leaves(written) if isinstance(x, Tensor))
            self.calls[kind_of(name), size] += 1
        return result

    def per_step(self, steps: int) -> Traffic:
        """Traffic of a step, averaged over ``steps``."""
        return {key: calls / steps for key, calls in self.calls.items()}


def kind_of(operator: str) -> str:
    """Key of ``SENT`` for operators such as ``_allgather_base_``; other names are returned unchanged."""
    plain = operator.replace("_", "")
    return next((kind for kind in SENT if plain.startswith(kind.replace("_", ""))), operator)


def sent_bytes(traffic: Traffic, world: int) -> float:
    """Bytes sent by each of ``world`` processes per step."""
    return sum(calls * size * SENT[kind](world) for (kind, size), calls in traffic.items())


def norm_passes(model: nn.Module, step: Callable[[], object]) -> Counter[tuple[int, bool]]:
    """Count training passes of batch norms in a step, by channels and whether the input needs a gradient."""
    passes: Counter[tuple[int, bool]] = Counter()

    def count(norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        if norm.training:
            passes[norm.num_features, torch.is_grad_enabled() and inputs[0].requires_grad] += 1

    handles = [m.register_forward_pre_hook(count) for m in model.modules() if isinstance(m, _BatchNorm)]
    step()
    for handle in handles:
        handle.remove()
    return passes


def norm_traffic(passes: Mapping[tuple[int, bool], int], world: int) -> Traffic:
    """Traffic of these passes through :class:`torch.nn.SyncBatchNorm`.

    Forward gathers mean, inverse std (C each) and count of every process; backward reduces two sums.
    """
    found: Counter[tuple[str, int]] = Counter()
    for (channels, backward), calls in passes.items():
        found["all_gather", world * (2 * channels + 1) * FLOAT] += calls
        if backward:
            found["all_reduce", 2 * channels * FLOAT] += calls
    return found
