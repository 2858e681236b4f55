"""Training loop shared by all protocols that train a classifier by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor

from .recipe import Recipe

Batch = tuple[Tensor, Tensor]
Source = Callable[[Tensor, int], Iterable[Batch]]
"""Maps an order of the rows and a batch size to batches of inputs and labels."""


def fit(
    parameters: Sequence[Tensor],
    source: Source,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    count: int,
    recipe: Recipe,
    generator: torch.Generator,
    watch: Callable[[int, int], None],
    whole_batches: bool = False,
) -> None:
    """Minimise ``loss(inputs, labels)`` over shuffled batches of ``count`` rows.

    Args:
        parameters: Trained parameters.
        source: Yields an epoch's batches for an order of the rows.
        loss: Scalar loss of a batch.
        count: Number of rows.
        recipe: Optimiser, length, learning rate and checks.
        generator: Random generator that shuffles the rows in every epoch.
        watch: Called as ``watch(step, epoch)`` at the recipe's checks, both counted from 1.
        whole_batches: Drop the incomplete last batch of an epoch.

    Raises:
        ValueError: The loss is not finite at a check.
    """
    size = min(recipe.batch_size, count)
    per_epoch = count // size if whole_batches else math.ceil(count / size)
    total = recipe.total_steps(per_epoch)
    checks = recipe.checks(total)
    optimizer = recipe.build_optimizer(parameters)
    step = 0
    while step < total:
        order = torch.randperm(count, generator=generator)[: per_epoch * size]
        for inputs, labels in islice(source(order, size), total - step):
            optimizer.param_groups[0]["lr"] = recipe.rate(step, total, per_epoch)
            value = loss(inputs, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            step += 1
            if step in checks:
                if not math.isfinite(seen := value.item()):
                    raise ValueError(
                        f"the loss is {seen} after step {step}: {recipe.key}.lr={recipe.lr} is too large"
                    )
                watch(step, math.ceil(step / per_epoch))
