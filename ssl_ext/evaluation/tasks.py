"""Loss, number of outputs and probabilities of each kind of classification task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TASKS = ("multi-class", "binary", "ordinal", "multi-label")


def check_task(task: str) -> None:
    """Raise ValueError unless ``task`` is one of the known tasks."""
    if task not in TASKS:
        raise ValueError(f"task={task!r} is unknown; allowed are {', '.join(TASKS)}")


def labelled_rows(labels: Tensor) -> Tensor:
    """Mask (N,) of the labelled rows; a negative entry means unlabelled.

    >>> labelled_rows(torch.tensor([3, -1, 0])).tolist()
    [True, False, True]
    """
    return labels >= 0 if labels.ndim == 1 else (labels >= 0).all(dim=1)


def one_sided_classes(labels: Tensor, num_classes: int) -> list[int]:
    """Classes without a positive or without a negative labelled row, whose AUC is undefined.

    ``labels`` (N,), or 0/1 (N, ``num_classes``) for multi-label; negative entries are unlabelled.

    >>> one_sided_classes(torch.tensor([0, 2, 2, -1]), 3)
    [1]
    """
    known = labels[labelled_rows(labels)]
    positive = known == 1 if known.ndim == 2 else known[:, None] == torch.arange(num_classes)
    return (~positive.any(dim=0) | positive.all(dim=0)).nonzero()[:, 0].tolist()


def num_outputs(num_classes: int, task: str) -> int:
    """Width of a linear layer for the task: one logit for ``binary``, else one per class."""
    check_task(task)
    return 1 if task == "binary" else num_classes


def classification_loss(logits: Tensor, labels: Tensor, task: str, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of (N, C) logits: softmax, or sigmoid for ``binary``/``multi-label``.

    ``labels`` is int64 (N,), or 0/1 (N, L) for ``multi-label``; ``weights``, shaped alike, multiply each term
    of the mean.
    """
    if task == "multi-label":
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weights)
    if task == "binary":
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), weights)
    if weights is None:
        return F.cross_entropy(logits, labels)
    return (F.cross_entropy(logits, labels, reduction="none") * weights).mean()


def right_logits(logits: Tensor, labels: Tensor, task: str) -> Tensor:
    """Number () of correct predictions of (N, C) logits, averaged over the labels for ``multi-label``.

    >>> right_logits(torch.tensor([[0.5, 0.2], [0.1, 0.3]]), torch.tensor([0, 0]), "multi-class").item()
    1.0
    """
    if task in ("multi-label", "binary"):
        return ((logits > 0) == labels.view_as(logits).bool()).float().mean(dim=1).sum()
    return (logits.argmax(dim=1) == labels).float().sum()


def cross_entropy_of(scores: Tensor, labels: Tensor, task: str) -> float:
    """Mean cross-entropy of probabilities (N, C); the logarithm is cut off at −100.

    >>> round(cross_entropy_of(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0, 1]), "ordinal"), 4)
    0.3466
    """
    if task in ("multi-label", "binary"):
        return F.binary_cross_entropy(scores, labels.view_as(scores).to(scores.dtype)).item()
    return F.nll_loss(scores.log().clamp(min=-100), labels).item()


def probabilities(logits: Tensor, task: str) -> Tensor:
    """Class probabilities (N, C) of (N, C) logits: softmax, or sigmoid for ``binary``/``multi-label``."""
    if task in ("multi-label", "binary"):
        return torch.sigmoid(logits)
    return torch.softmax(logits, dim=1)


def prediction_error(logits: Tensor, labels: Tensor, task: str, weights: Tensor | None = None) -> Tensor:
    """Probabilities minus targets (N, C): the gradient of each row's cross-entropy by its logits.

    The formula is the same for softmax and sigmoid; ``weights``, shaped as ``labels``, multiply it.
    :func:`classification_loss` is a mean over rows (and labels), so its gradient is this divided by their
    number.
    """
    error = probabilities(logits, task)
    if task in ("multi-label", "binary"):
        error.sub_(labels.view_as(error))
    else:
        error.scatter_add_(1, labels.unsqueeze(1), error.new_full((1, 1), -1.0).expand(len(error), 1))
    return error if weights is None else error.mul_(weights.view(len(error), -1))
