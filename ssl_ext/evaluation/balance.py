"""Training on unequal classes: weights of the loss, balanced sampling, or undersampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_ext.names import BALANCES
from ssl_ext.values import is_number

from .class_counts import class_counts
from .metrics import accuracy, right_predictions

WEIGHTS, SAMPLING, UNDERSAMPLING = BALANCES
WORDS = {WEIGHTS: "class weights", SAMPLING: "balanced sampling", UNDERSAMPLING: "undersampled"}
KEY = "evaluation.balance"


@dataclass(frozen=True)
class Balance:
    """Treatment of unequal classes in the training of a classifier.

    ``kind`` is ``'weights'``: each image counts in the loss by a weight of its class, inversely proportional
    to the number of training images, or by one of the ``given`` weights, of which only the ratios matter;
    ``'sampling'``: an epoch draws as many images as there are, with replacement, all classes equally often;
    or ``'undersampling'``: as many random images of each class as the smallest class has (F. Jiang 2023,
    Sec. 5.2), which is done where rows are drawn. Epochs and settings are then selected by the accuracy with
    class weights on validation images, the balanced accuracy unless weights are given.
    """

    kind: str
    given: tuple[float, ...] = ()

    @classmethod
    def of(cls, value: Any) -> Balance | None:
        """Check a value of ``evaluation.balance``: a kind, a list of weights, or None.

        Raises:
            ValueError: Another value.

        >>> Balance.of("weights"), Balance.of([1, 4]).words
        (Balance(kind='weights', given=()), 'class weights 1:4')
        """
        if value is None:
            return None
        if isinstance(value, str) and value in BALANCES:
            return cls(value)
        numbers = isinstance(value, Sequence) and not isinstance(value, str)
        if not numbers or len(value) < 2 or not all(is_number(one) and one > 0 for one in value):
            raise ValueError(
                f"{KEY}={value!r}: {', '.join(BALANCES)}, or a number above 0 for each class is needed"
            )
        return cls(WEIGHTS, tuple(value))

    @property
    def words(self) -> str:
        """Name in result rows and tables."""
        return WORDS[self.kind] + (" " + ":".join(f"{one:g}" for one in self.given)).rstrip()

    def check(self, num_classes: int, task: str) -> None:
        """Raise ValueError if it does not fit the data: a weight a class (label), or one class an image."""
        if self.given and len(self.given) != num_classes:
            unit = "labels" if task == "multi-label" else "classes"
            raise ValueError(f"{KEY}={list(self.given)}: {len(self.given)} weights for {num_classes} {unit}")
        if task == "multi-label" and self.kind != WEIGHTS:
            raise ValueError(
                f"{KEY}={self.kind!r} needs one class per image; use 'weights' for several labels"
            )


@dataclass(frozen=True)
class Weighting:
    """A :class:`Balance`, or None for equal weights, on data of some classes."""

    balance: Balance | None
    num_classes: int
    task: str

    def table(self, labels: Tensor, *, exact: bool = False) -> Tensor | None:
        """Class weights of the loss from training labels, see :func:`normalized`; None for equal ones.

        ``exact``: the loss is of all rows at once, so balanced sampling is replaced by the weights that equal
        its expectation.
        """
        if self.balance and (self.balance.kind == WEIGHTS or (exact and self.balance.kind == SAMPLING)):
            return normalized(labels, self.num_classes, self.task, self.balance.given)
        return None

    def chances(self, labels: Tensor) -> Tensor | None:
        """Relative frequencies (N,) with which an epoch draws the rows; None for each row once."""
        if self.balance is None or self.balance.kind != SAMPLING:
            return None
        return row_weights(labels, normalized(labels, self.num_classes, self.task))

    def val(self, labels: Tensor) -> Tensor | None:
        """Weights, shaped as the labels, of validation predictions in the accuracy that selects."""
        if self.balance is None:
            return None
        return row_weights(labels, normalized(labels, self.num_classes, self.task, self.balance.given))

    def accuracy(self, scores: Tensor, labels: Tensor) -> float:
        """Accuracy on validation by which an epoch or a setting is selected."""
        if self.balance is None:
            return accuracy(scores, labels, self.task)
        labels = labels.to(scores.device)
        weights = self.val(labels)
        right = right_predictions(
            scores.unsqueeze(0), labels.unsqueeze(0), self.task, None if weights is None else weights[None]
        )
        return right.item() / labels.numel()


def settings_of(table: Tensor | None) -> dict[str, Any]:
    """Class weights for a result row; empty for equal ones."""
    return {} if table is None else {"class_weights": [round(x, 6) for x in table.flatten().tolist()]}


def normalized(labels: Tensor, num_classes: int, task: str, given: Sequence[float] = ()) -> Tensor:
    """Class weights (C,), for ``multi-label`` (2, L) of negatives and positives, with mean 1 over the labels.

    Without ``given`` weights they are inversely proportional to the counts, as scikit-learn's
    ``'balanced'``; a class without rows has weight 0. The given weights of several labels are those of the
    positives relative to the negatives.

    >>> normalized(torch.tensor([0, 0, 0, 1]), 2, "binary")
    tensor([0.6667, 2.0000])
    """
    counts = torch.tensor(class_counts(labels, num_classes), dtype=torch.float64)
    raw = torch.tensor(given, dtype=torch.float64)
    if task == "multi-label":
        counts = torch.stack([len(labels) - counts, counts])
        raw = torch.stack([torch.ones_like(raw), raw])
    if not given:
        raw = torch.where(counts > 0, 1 / counts, 0)
    return (raw * counts.sum(0) / (raw * counts).sum(0)).float().to(labels.device)


def row_weights(labels: Tensor, table: Tensor) -> Tensor:
    """Weights of labels (N,) or (N, L) from those of the classes.

    >>> row_weights(torch.tensor([1, 0]), torch.tensor([0.5, 2.0]))
    tensor([2.0000, 0.5000])
    """
    return torch.where(labels == 1, table[1], table[0]) if table.ndim == 2 else table[labels]


def epoch_order(count: int, chances: Tensor | None, generator: torch.Generator) -> Tensor:
    """Rows (count,) of an epoch: a random permutation, or draws with replacement by ``chances``."""
    if chances is None:
        return torch.randperm(count, generator=generator)
    return torch.multinomial(chances.cpu(), count, replacement=True, generator=generator)
