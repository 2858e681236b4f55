"""Differentiable collectives; identities in a single process.

The backward pass *sums* gradients over the W processes. If every process computes the same loss from
the joined batch, the sum is W times its gradient, and DistributedDataParallel's average reduces it to
the gradient of one process on the joined batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def world_size() -> int:
    """Number of processes; 1 when no process group exists.

    >>> world_size()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process, from 0; 0 when no process group exists."""
    return dist.get_rank() if world_size() > 1 else 0


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over the processes; the backward pass sums the gradients.

    Args:
        x: any shape, the same on every process.
    """
    return _AllReduceSum.apply(x) if world_size() > 1 else x


def all_reduce_mean(x: Tensor) -> Tensor:
    """Mean of ``x`` over the processes; the backward pass averages the gradients.

    Args:
        x: any shape, the same on every process.
    """
    return all_reduce_sum(x) / world_size() if world_size() > 1 else x


def mean_over(x: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen entries of all processes; 0 if there are none.

    Args:
        x: (N,).
        chosen: (N,) bool.

    >>> mean_over(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, True, False]))
    tensor(1.5000)
    """
    counts = chosen.to(x.dtype)
    total, count = all_reduce_sum(torch.stack([(x * counts).sum(), counts.sum()])).unbind()
    return total / count.clamp(min=1)


def gather(x: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order; the backward pass sums each row's gradients.

    Args:
        x: (N, ...), the same N on every process.

    Returns:
        (W * N, ...).
    """
    return _Gather.apply(x) if world_size() > 1 else x


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        joined = x.new_empty((world_size() * x.shape[0], *x.shape[1:]))
        dist.all_gather(list(joined.chunk(world_size())), x.contiguous())
        return joined

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient).narrow(0, dist.get_rank() * ctx.rows, ctx.rows)
