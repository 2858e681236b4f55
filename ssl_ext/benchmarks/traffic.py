"""What a training step sends: every collective that it starts, and what synchronised batch norms would add.

A collective is counted by the bytes of its result: the tensor of an all-reduce or a broadcast, the joined
tensor of an all-gather. What a process sends for it depends on how many there are (:func:`moved_bytes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FLOAT = 4
MIB = 2**20
FIRST_BUCKET, BUCKET = MIB, 25 * MIB
NAMESPACES = ("c10d", "_c10d_functional")
# Operators that only wait for a collective or wrap its result.
NO_COLLECTIVE = ("wait", "wrap", "monitored_barrier")


class Collective(NamedTuple):
    """``calls`` collectives of one kind a step, each with a result of ``size`` bytes.

    A fraction of a call stands for one in some steps only.
    """

    kind: str
    size: int
    calls: float = 1


class CollectiveCounter(TorchDispatchMode):
    """Counts the collectives started inside: of losses, of DDP's reducer, of gradients' backward passes.

    ``calls`` maps kind and bytes of the result to the number of calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator; count it if it is a collective."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if func.namespace in NAMESPACES and not any(word in name for word in NO_COLLECTIVE):
            # Those of the first namespace write into their first argument, the others return a tensor.
            written = args[0] if func.namespace == "c10d" else result
            size = sum(x.numel() * x.element_size() for x in tree_leaves(written) if isinstance(x, Tensor))
            self.calls[kind_of(name), size] += 1
        return result


def kind_of(operator: str) -> str:
    """``'all_reduce'``, ``'all_gather'`` or ``'broadcast'``; any other operator keeps its name.

    >>> kind_of("allreduce_"), kind_of("_allgather_base_"), kind_of("alltoall_")
    ('all_reduce', 'all_gather', 'alltoall_')
    """
    plain = operator.replace("_", "")
    for kind in ("all_reduce", "all_gather", "broadcast"):
        if plain.startswith(kind.replace("_", "")):
            return kind
    return operator


def collectives(calls: Counter[tuple[str, int]], steps: int = 1) -> list[Collective]:
    """What was counted over ``steps`` steps, per step."""
    return [Collective(kind, size, count / steps) for (kind, size), count in calls.items()]


def tally(found: Iterable[Collective]) -> dict[tuple[str, int], float]:
    """Calls a step by kind and size: two lists with the same tally move the same.

    >>> tally([Collective("broadcast", 8), Collective("broadcast", 8, 0.5)])
    {('broadcast', 8): 1.5}
    """
    calls: Counter[tuple[str, int]] = Counter()
    for kind, size, count in found:
        calls[kind, size] += count
    return dict(calls)


def moved_share(kind: str, world: int) -> float:
    """Bytes that a process sends over bytes of the result, by algorithms on a ring of ``world`` processes.

    >>> [moved_share(kind, 4) for kind in ("all_reduce", "all_gather", "broadcast")]
    [1.5, 0.75, 1.0]

    Raises:
        ValueError: Another kind.
    """
    if kind not in ("all_reduce", "all_gather", "broadcast"):
        raise ValueError(f"{kind} is no collective of a training step of this project")
    if world == 1:
        return 0.0
    others = (world - 1) / world
    return {"all_reduce": 2 * others, "all_gather": others, "broadcast": 1.0}[kind]


def moved_bytes(found: Iterable[Collective], world: int) -> float:
    """Bytes that a process sends in a step."""
    return sum(calls * size * moved_share(kind, world) for kind, size, calls in found)


def call_count(found: Iterable[Collective]) -> float:
    """Collectives of a step."""
    return sum(calls for _, _, calls in found)


def gradient_collectives(model: nn.Module) -> list[Collective]:
    """The buckets in which DDP averages the gradients of every trainable parameter."""
    sizes = [p.numel() * p.element_size() for p in model.parameters() if p.requires_grad]
    # The gradients of the last layers are there first.
    return [Collective("all_reduce", size) for size in bucket_sizes(sizes[::-1])]


def bucket_sizes(sizes: Sequence[int], *, first: int = FIRST_BUCKET, limit: int = BUCKET) -> list[int]:
    """Bytes of DDP's buckets for gradients of these bytes in the order of their arrival.

    A bucket is full when it has reached ``limit`` (the first one: ``first``).

    >>> bucket_sizes([4, 4, 4, 9, 4], first=8, limit=12)
    [8, 13, 4]
    """
    buckets, filled = [], 0
    for size in sizes:
        filled += size
        if filled >= (limit if buckets else first):
            buckets.append(filled)
            filled = 0
    return buckets + [filled] * bool(filled)


class NormPass(NamedTuple):
    """A training pass through a batch normalisation of so many channels, with or without a way back."""

    channels: int
    backward: bool


@contextmanager
def norm_passes(model: nn.Module) -> Iterator[list[NormPass]]:
    """Collect the training passes through every batch normalisation that could be synchronised."""
    passes: list[NormPass] = []

    def note(norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        if norm.training:
            backward = torch.is_grad_enabled() and inputs[0].requires_grad
            passes.append(NormPass(norm.num_features, backward))

    handles = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, _BatchNorm)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def norm_collectives(passes: Iterable[NormPass], world: int) -> list[Collective]:
    """What :class:`torch.nn.SyncBatchNorm` sends for them.

    Forward it gathers mean, deviation (C each) and count of every process; backward it reduces two sums
    (C each), if its input takes a gradient.

    >>> norm_collectives([NormPass(64, True), NormPass(64, False)], 2)
    [Collective(kind='all_gather', size=1032, calls=2.0), Collective(kind='all_reduce', size=512, calls=1.0)]
    """
    found: Counter[tuple[str, int]] = Counter()
    for channels, backward in passes:
        found["all_gather", world * (2 * channels + 1) * FLOAT] += 1
        if backward:
            found["all_reduce", 2 * channels * FLOAT] += 1
    return collectives(found)
