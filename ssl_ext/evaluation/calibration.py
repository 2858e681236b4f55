"""Temperature of a classifier's probabilities, and distances of features to those of training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .tasks import prediction_error, probabilities

LIMITS = (0.05, 20.0)
"""Range of temperatures: without mistakes on validation the best one would be 0."""
NEIGHBOURS = 10


def logits_of(scores: Tensor, task: str) -> Tensor:
    """Float64 logits (N, C) of probabilities; softmax logits up to a constant of each row.

    Probabilities are kept 1e-15 away from 0, and of ``binary`` and ``multi-label`` tasks from 1.
    """
    scores = scores.double().clamp(min=1e-15)
    if task in ("multi-label", "binary"):
        return torch.logit(scores, eps=1e-15)
    return scores.log()


def fit_temperature(scores: Tensor, labels: Tensor, task: str) -> float:
    """Temperature that minimises the cross-entropy of ``logits / temperature``, within :data:`LIMITS`.

    Guo et al., "On Calibration of Modern Neural Networks", 2017. The cross-entropy is convex in the inverse
    temperature; the zero of its derivative is found by bisection.

    Args:
        scores: Probabilities (N, C) of validation images.
        labels: int64 (N,), or 0/1 (N, C) for ``multi-label``.
        task: Kind of labels.
    """
    logits = logits_of(scores, task)

    def slope(temperature: float) -> float:
        """Derivative by the inverse temperature."""
        return float((prediction_error(logits / temperature, labels, task) * logits).sum())

    low, high = LIMITS
    for _ in range(60):
        middle = (low * high) ** 0.5
        # The derivative rises with the inverse temperature, so it falls with the temperature.
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low * high) ** 0.5


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
