"""Training loop shared by all protocols that train a classifier by gradient descent."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from ssl_ext.capture import Numbers, Rates, Recorder, Replayed, own_stream, pinned
from ssl_ext.console import progress

from .balance import epoch_order
from .recipe import Recipe
from .unfinished import Changed, Unfinished, restore, state_of

Batch = tuple[Tensor, Tensor]
Source = Callable[[Sequence[Tensor]], Iterable[Batch]]
"""Maps the rows of each batch to batches of inputs and labels."""


def fit(
    parameters: Sequence[Tensor],
    source: Source,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    count: int,
    recipe: Recipe,
    generator: torch.Generator,
    watch: Callable[[int, int, int], None],
    recorder: type[Recorder] | None = None,
    chances: Tensor | None = None,
    unfinished: Unfinished | None = None,
    changed: Changed | None = None,
) -> None:
    """Minimise ``loss(inputs, labels)`` over shuffled batches of ``count`` rows.

    The last batch of an epoch may be smaller. If it would have a single row, that joins the batch before,
    because batch normalisation needs two.

    Args:
        parameters: Trained parameters.
        source: Yields an epoch's batches for an order of the rows.
        loss: Scalar loss of a batch.
        count: Number of rows.
        recipe: Optimiser, length, learning rate and checks.
        generator: Random generator that shuffles the rows in every epoch.
        watch: Called as ``watch(check, step, epoch)`` at the recipe's checks, all counted from 1.
        recorder: Class that records and replays the steps of full batches, such as a CUDA graph.
        chances: Relative frequencies (count,) with which each epoch draws the rows, with replacement; None:
            every row once.
        unfinished: Where the state is kept at the end of an epoch, and from where it is resumed.
        changed: What ``loss`` and ``watch`` change, and the model of the parameters: part of the state.

    Raises:
        ValueError: The loss is not finite at a check.
    """
    size = min(recipe.batch_size, count)
    per_epoch = recipe.steps_per_epoch(count)
    total = recipe.total_steps(per_epoch)
    checks = {step: check for check, step in enumerate(sorted(recipe.checks(total)), 1)}
    optimizer, step = recipe.build_optimizer(parameters), 0
    generators = [generator, *_global_generators(parameters[0].device)]

    def state() -> dict[str, Any]:
        return {
            "step": step,
            "optimizer": optimizer.state_dict(),
            "random": [one.get_state() for one in generators],
            "changed": state_of(changed or {}),
        }

    if unfinished and (found := unfinished.last()):
        step = found["step"]
        optimizer.load_state_dict(found["optimizer"])
        restore(changed or {}, found["changed"])
        for one, value in zip(generators, found["random"], strict=True):
            one.set_state(value)
    take_step = _Step(optimizer, loss, recorder, parameters[0].device)
    words = "training, resumed" if step else "training"
    with own_stream(recorder), progress(words, total - step, "steps") as advance:
        while step < total:
            parts = list(epoch_order(count, chances, generator).split(size))
            parts[per_epoch - 1 :] = [torch.cat(parts[per_epoch - 1 :])]
            for inputs, labels in islice(source(parts), total - step):
                value = take_step(inputs, labels, recipe.rate(step, total, per_epoch))
                step += 1
                advance(1)
                if step in checks:
                    if not math.isfinite(seen := value.item()):
                        raise ValueError(
                            f"the loss is {seen} after step {step}: {recipe.key}.lr={recipe.lr} is too large"
                        )
                    watch(checks[step], step, math.ceil(step / per_epoch))
            if unfinished:
                unfinished.write(state)


def _global_generators(device: torch.device) -> list[torch.Generator]:
    """The random generators that operations on the CPU and on a device use."""
    on_device = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
    return [torch.default_generator, *on_device]


def _say_eager(reason: str) -> None:
    text = f"Fine-tuning runs eagerly, which is slower: {reason}."
    print_log(text, logger="current", level=logging.WARNING)


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
        self.replayed = Replayed(self._run, recorder, _say_eager)
        self.batch: tuple[Tensor, ...] = ()
        self.buffers: tuple[Tensor, ...] = ()

    def __call__(self, inputs: Tensor, labels: Tensor, rate: float) -> Tensor:
        """Take a step and return its loss, which the next step may overwrite."""
        self.optimizer.param_groups[0]["lr"] = rate
        if self.rates is None:
            self.batch = (inputs, labels)
            return self._run()
        self.numbers.write(self.rates.numbers())
        batch = [pinned(value, self.device) for value in (inputs, labels)]
        self.buffers = self.buffers or tuple(torch.empty_like(x, device=self.device) for x in batch)
        if len(inputs) != len(self.buffers[0]):  # the last batch of an epoch
            self.batch = tuple(value.to(self.device, non_blocking=True) for value in batch)
            return self._run()
        self.batch = self.buffers
        for buffer, value in zip(self.buffers, batch, strict=True):
            buffer.copy_(value, non_blocking=True)
        return self.replayed()

    def _run(self) -> Tensor:
        with self.rates.in_step(self.numbers) if self.rates else nullcontext():
            value = self.loss(*self.batch)
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
        return value.detach()
