"""Accuracy and area under the ROC curve, computed as MedMNIST's evaluator does."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor

from .tasks import check_task


def _arrays(scores: Tensor, labels: Tensor, task: str) -> tuple[np.ndarray, np.ndarray]:
    check_task(task)
    if len(labels) != len(scores) or len(labels) == 0:
        raise ValueError(f"{len(labels)} labels for {len(scores)} rows of scores: need equal, > 0")
    s, y = scores.detach().cpu().numpy(), labels.detach().cpu().numpy()
    if task == "binary":
        s, y = s.reshape(len(s), -1)[:, -1], y.reshape(len(y))
    elif s.ndim != 2:
        raise ValueError(f"scores of shape {s.shape} for task={task!r}: (N, classes) is needed")
    return s, y


def _binary_auc(score: np.ndarray, positive: np.ndarray) -> float:
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, score))


def auc(scores: Tensor, labels: Tensor, task: str = "multi-class") -> float:
    """Macro one-vs-rest area under the ROC curve, in [0, 1].

    ``scores`` (N, C), for ``binary`` also (N,) or (N, 1) (the last column counts); ``labels`` (N,),
    or (N, L) in {0, 1} for ``multi-label``. NaN when a class has no positive or no negative row.

    >>> import torch
    >>> auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]), "binary")
    0.75
    """
    s, y = _arrays(scores, labels, task)
    if task == "binary":
        return _binary_auc(s, y == 1)
    positive = y == 1 if task == "multi-label" else y[:, None] == np.arange(s.shape[1])
    return float(np.mean([_binary_auc(s[:, c], positive[:, c]) for c in range(s.shape[1])]))


def accuracy(scores: Tensor, labels: Tensor, task: str = "multi-class", *, threshold: float = 0.5) -> float:
    """Share of right predictions, in [0, 1].

    Top-1 of the scores; for ``binary`` and ``multi-label`` scores above ``threshold`` count as
    positive, and multi-label accuracies are averaged over the labels. Shapes as for :func:`auc`.

    >>> import torch
    >>> accuracy(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    0.5
    """
    s, y = _arrays(scores, labels, task)
    if task == "multi-label":
        positive = s > threshold
        return float(np.mean([accuracy_score(y[:, c], positive[:, c]) for c in range(s.shape[1])]))
    prediction = s > threshold if task == "binary" else s.argmax(axis=1)
    return float(accuracy_score(y, prediction))


def top1(scores: Tensor, labels: Tensor) -> float:
    """Share of the rows of (N, C) scores whose largest entry is at the label (N,), in [0, 1]."""
    return accuracy(scores, labels, "multi-class")


def evaluate_scores(scores: Tensor, labels: Tensor, task: str) -> dict[str, float]:
    """Both metrics under the names that result files use: ``acc`` and ``auc``."""
    return {"acc": accuracy(scores, labels, task), "auc": auc(scores, labels, task)}
