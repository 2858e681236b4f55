"""Temperature of a classifier's probabilities, and distances of features to those of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .predictions import Predictions
from .tasks import cross_entropy_of, prediction_error, probabilities

LIMITS = (0.05, 20.0)
"""Range of temperatures: without mistakes on validation the best one would be 0."""
CHI_SQUARED = 3.841
"""95 % quantile of chi-squared with one degree of freedom."""
NEIGHBOURS = 10


def logits_of(scores: Tensor, task: str) -> Tensor:
    """Float64 logits (N, C) of probabilities; softmax logits up to a constant of each row.

    Probabilities are kept 1e-15 away from 0, and of ``binary`` and ``multi-label`` tasks from 1.
    """
    scores = scores.double().clamp(min=1e-15)
    if task in ("multi-label", "binary"):
        return torch.logit(scores, eps=1e-15)
    return scores.log()


def fit_temperature(scores: Tensor, labels: Tensor, task: str, *, units: int | None = None) -> float:
    """Temperature nearest to 1 in the 95 % interval of the best one: 1 if few images show no better one.

    The best one, within :data:`LIMITS`, minimises the cross-entropy of ``logits / temperature`` (Guo et al.,
    "On Calibration of Modern Neural Networks", 2017). The interval has those whose likelihood-ratio statistic
    is at most the 95 % quantile of chi-squared (Wilks, 1938). The cross-entropy is convex in the inverse
    temperature, so that of other images falls too unless their best temperature lies beyond this end, which
    has a probability of 2.5 %.

    Args:
        scores: Probabilities (N, C) of validation images.
        labels: int64 (N,), or 0/1 (N, C) for ``multi-label``, whose labels of an image count as one.
        task: Kind of labels.
        units: Number of independent images or groups (default N).
    """
    logits = logits_of(scores, task)
    count = len(labels) if units is None else units

    def slope(temperature: float) -> float:
        """Derivative by the inverse temperature, which falls with the temperature."""
        return float((prediction_error(logits / temperature, labels, task) * logits).sum())

    def statistic(temperature: float) -> float:
        return 2 * count * cross_entropy_of(probabilities(logits / temperature, task), labels, task)

    best = _last(lambda temperature: slope(temperature) > 0, *LIMITS)
    limit = statistic(best) + CHI_SQUARED
    return 1.0 if statistic(1.0) <= limit else _last(lambda one: statistic(one) > limit, 1.0, best)


def _last(holds: Callable[[float], bool], start: float, end: float) -> float:
    """Temperature between ``start`` and ``end`` up to which a condition holds, by bisection."""
    for _ in range(50):
        middle = (start * end) ** 0.5
        start, end = (middle, end) if holds(middle) else (start, middle)
    return end


def validation_temperature(predictions: Predictions, which: str) -> tuple[float | None, str]:
    """Temperature fitted on the validation scores, and a sentence about it; None without all of them."""
    part, images, groups = predictions.val[which], len(predictions.val_labels), predictions.val_groups
    if part.classes is not None or not images:
        return None, "No temperature: the scores of all classes on validation images are not stored."
    labels = torch.as_tensor(predictions.val_labels).long()
    found = fit_temperature(torch.from_numpy(part.values), labels, predictions.task, units=groups)
    named = f"{images:,} validation images" + (f" of {groups:,} patients or groups" if groups else "")
    if found == 1:
        return found, f"Temperature 1: {named} show no better one at the level of 95 %."
    return (
        found,
        f"Temperature {found:.3g}: the end nearest to 1 of the 95 % interval of the best one on {named}.",
    )


def tempered(scores: Tensor, temperature: float, task: str) -> Tensor:
    """Probabilities (N, C), float64, at a temperature.

    >>> tempered(torch.tensor([[0.8, 0.2]]), 2.0, "multi-class").round(decimals=3).tolist()
    [[0.667, 0.333]]
    """
    return probabilities(logits_of(scores, task) / temperature, task)


def entropy(scores: Tensor, task: str) -> Tensor:
    """Entropy (N,) in nats of probabilities (N, C), averaged over the labels for ``multi-label``.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), "multi-class")
    tensor([0.6931, 0.0000])
    """
    own = torch.special.entr(scores)
    if task in ("multi-label", "binary"):
        return (own + torch.special.entr(1 - scores)).mean(dim=1)
    return own.sum(dim=1)


def feature_distance(features: Tensor, bank: Tensor, *, chunk: int = 4096) -> Tensor:
    """Distance (N,) in [0, 2] of unit-length features to their tenth nearest neighbour in a bank (M, D).

    Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022. A bank of fewer than ten
    features has its farthest one as neighbour.
    """
    bank = F.normalize(bank.float(), dim=1)
    rank = min(NEIGHBOURS, len(bank))
    found = [
        (F.normalize(part.float(), dim=1) @ bank.T).topk(rank, dim=1).values[:, -1]
        for part in features.split(chunk)
    ]
    return (2 - 2 * torch.cat(found)).clamp(min=0).sqrt()
