"""Training loop shared by all protocols that train a classifier by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import islice

import torch
from torch import Tensor

from ssl_ext.capture import Numbers, Rates, Recorder, Replayed, own_stream, pinned

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
    recorder: type[Recorder] | None = None,
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
        recorder: Class that records and replays a step, such as a CUDA graph; needs batches of equal size.

    Raises:
        ValueError: The loss is not finite at a check.
    """
    size = min(recipe.batch_size, count)
    per_epoch = count // size if whole_batches else math.ceil(count / size)
    total = recipe.total_steps(per_epoch)
    checks = recipe.checks(total)
    take_step = _Step(recipe.build_optimizer(parameters), loss, recorder, parameters[0].device)
    step = 0
    with own_stream(recorder):
        while step < total:
            order = torch.randperm(count, generator=generator)[: per_epoch * size]
            for inputs, labels in islice(source(order, size), total - step):
                value = take_step(inputs, labels, recipe.rate(step, total, per_epoch))
                step += 1
                if step in checks:
                    if not math.isfinite(seen := value.item()):
                        raise ValueError(
                            f"the loss is {seen} after step {step}: {recipe.key}.lr={recipe.lr} is too large"
                        )
                    watch(step, math.ceil(step / per_epoch))


class _Step:
    """One optimiser step, run directly or replayed by a recorder from static batch buffers."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor],
        recorder: type[Recorder] | None,
        device: torch.device,
    ) -> None:
        self.optimizer, self.loss, self.device = optimizer, loss, device
        self.rates = None if recorder is None else Rates(optimizer)
        self.numbers = Numbers(["lr0"], device)
        self.replayed = Replayed(self._run, recorder, lambda reason: None)
        self.batch: tuple[Tensor, ...] = ()

    def __call__(self, inputs: Tensor, labels: Tensor, rate: float) -> Tensor:
        """Take a step and return its loss, which the next step may overwrite."""
        self.optimizer.param_groups[0]["lr"] = rate
        if self.rates is None:
            self.batch = (inputs, labels)
            return self._run()
        self.numbers.write(self.rates.numbers())
        self.batch = self.batch or tuple(torch.empty_like(x, device=self.device) for x in (inputs, labels))
        for buffer, value in zip(self.batch, (inputs, labels), strict=True):
            buffer.copy_(pinned(value, self.device), non_blocking=True)
        return self.replayed()

    def _run(self) -> Tensor:
        with self.rates.in_step(self.numbers) if self.rates else nullcontext():
            value = self.loss(*self.batch)
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
        return value.detach()
