"""Training recipe of a classifier: optimiser, length, learning rate and validation checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_ext.console import counted
from ssl_ext.values import is_count, is_number

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
LONG = 100  # epochs


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training recipe, validated on construction.

    Args:
        optimizer: ``'sgd'``, ``'adam'`` or ``'adamw'``.
        lr: Initial learning rate, > 0.
        momentum: Momentum of ``sgd`` in [0, 1).
        weight_decay: Weight decay of all trained parameters, >= 0.
        batch_size: Rows per step, >= 2; clipped to the number of rows.
        epochs: Passes over the rows, >= 1.
        steps: Optimiser steps, >= 1; overrides ``epochs``.
        min_steps: Optimiser steps that ``epochs`` are prolonged to on few rows.
        schedule: ``'constant'``, or ``'cosine'`` from ``lr`` to 0.
        milestones: Points at which a constant rate is divided by 10: in epochs (in steps if ``steps`` is
            set), or, if below 1, as a fraction of the training.
        evaluations: Number of validation checks, evenly spaced, the last after the last step; default:
            one per epoch, or 10 if ``steps`` is set.
        key: Config key of the settings, for messages.

    Raises:
        ValueError: A setting is out of range.

    >>> recipe = Recipe(epochs=10, lr=1.0, milestones=(0.6, 0.8))
    >>> [round(recipe.rate(step, 10, 1), 3) for step in (0, 5, 6, 7, 8)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    optimizer: str = "sgd"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-6
    batch_size: int = 256
    epochs: int = 100
    steps: int | None = None
    min_steps: int | None = None
    schedule: str = "constant"
    milestones: Sequence[float] = ()
    evaluations: int | None = None
    key: str = "evaluation"

    def __post_init__(self) -> None:
        self._require("optimizer", self.optimizer in OPTIMIZERS, f"allowed are {', '.join(OPTIMIZERS)}")
        self._require("schedule", self.schedule in SCHEDULES, f"allowed are {', '.join(SCHEDULES)}")
        self._require("lr", is_number(self.lr) and self.lr > 0, "a number above 0 is needed")
        in_range = is_number(self.momentum) and 0 <= self.momentum < 1
        self._require("momentum", in_range, "a number from 0 to below 1 is needed")
        positive = is_number(self.weight_decay) and self.weight_decay >= 0
        self._require("weight_decay", positive, "a number of at least 0 is needed")
        self._require("batch_size", is_count(self.batch_size, 2), "a whole number ≥ 2 is needed")
        self._require("epochs", is_count(self.epochs, 1), "a whole number ≥ 1 is needed")
        for name in ("steps", "min_steps", "evaluations"):
            value = getattr(self, name)
            self._require(name, value is None or is_count(value, 1), "a whole number ≥ 1 is needed")
        numbers = isinstance(self.milestones, Sequence) and not isinstance(self.milestones, str)
        numbers = numbers and all(is_number(m) and m > 0 for m in self.milestones)
        self._require("milestones", numbers, "a list of numbers above 0 is needed")
        alone = not (self.milestones and self.schedule == "cosine")
        self._require("milestones", alone, "a cosine schedule has none")

    def _require(self, name: str, right: bool, need: str) -> None:
        if not right:
            raise ValueError(f"{self.key}.{name}={getattr(self, name)!r}: {need}")

    def steps_per_epoch(self, count: int) -> int:
        """Batches of an epoch of ``count`` rows; a single last row joins the batch before.

        >>> [Recipe(batch_size=4).steps_per_epoch(count) for count in (3, 8, 9, 10)]
        [1, 2, 2, 3]
        """
        size = min(self.batch_size, count)
        return max(1, count // size + (count % size > 1))

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the training in optimiser steps."""
        return self.steps or max(self.min_steps or 0, self.epochs * steps_per_epoch)

    def length(self, count: int, *, fixed: bool = False) -> str:
        """Length of a training on ``count`` rows in words.

        Above 100 epochs it names the key to shorten it, unless the config does not change the recipe
        (``fixed``).

        >>> Recipe(epochs=100, min_steps=1000, batch_size=64, key="evaluation.finetune").length(58)
        'evaluation.finetune: 1,000 steps, 1,000 epochs of 58 labelled images; shorten it with \
--cfg-options evaluation.finetune.min_steps=N'
        """
        per_epoch = self.steps_per_epoch(count)
        total = self.total_steps(per_epoch)
        epochs = math.ceil(total / per_epoch)
        length = f"{counted(total, 'step')}, {counted(epochs, 'epoch')}"
        words = f"{self.key}: {length} of {counted(count, 'labelled image')}"
        if fixed or epochs <= LONG:
            return words
        name = "steps" if self.steps else "min_steps" if epochs > self.epochs else "epochs"
        return f"{words}; shorten it with --cfg-options {self.key}.{name}=N"

    def rate(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Learning rate at 0-based ``step`` of ``total``."""
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * step / total)) / 2
        unit = 1 if self.steps else steps_per_epoch
        return self.lr * 0.1 ** sum(step >= m * (total if m < 1 else unit) for m in self.milestones)

    def checks(self, total: int) -> set[int]:
        """1-based steps after which validation is checked, at most ``total``."""
        count = min(total, self.evaluations or (10 if self.steps else self.epochs))
        return {round(total * (i + 1) / count) for i in range(count)}

    def build_optimizer(
        self, parameters: Iterable[Tensor], *, capturable: bool = False
    ) -> torch.optim.Optimizer:
        """Build the optimiser; ``capturable`` for CUDA graphs, with learning rates as tensors."""
        decay: dict[str, Any] = dict(weight_decay=self.weight_decay, fused=capturable or None)
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, self.lr, self.momentum, **decay)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, self.lr, capturable=capturable, **decay)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings in effect, for result rows."""
        length = {"steps": self.steps} if self.steps else {"epochs": self.epochs}
        if self.min_steps and not self.steps:
            length["min_steps"] = self.min_steps
        momentum = {"momentum": self.momentum} if self.optimizer == "sgd" else {}
        return {
            "optimizer": self.optimizer,
            **length,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            **momentum,
            "schedule": self.schedule,
            "milestones": list(self.milestones),
        }
