"""Classification metrics; accuracy and AUC are defined as in MedMNIST's evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .tasks import check_task

TOP5_FROM = 20  # smallest number of classes for which top-5 is reported
CONFUSION_UP_TO = 100  # largest number of classes for which a confusion matrix is stored
BINS = 15  # bins of the calibration error, as in Guo et al.


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
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, score))


def _average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    if positive.all() or not positive.any():
        return float("nan")
    return float(average_precision_score(positive, score))


def _one_vs_rest(
    area: Callable[[np.ndarray, np.ndarray], float], scores: Tensor, labels: Tensor, task: str
) -> float:
    """Average a one-vs-rest area, a function of scores (N,) and positives (N,), over its defined classes."""
    s, y = _arrays(scores, labels, task)
    if task == "binary":
        return area(s, y == 1)
    positive = y == 1 if task == "multi-label" else y[:, None] == np.arange(s.shape[1])
    found = np.array([area(s[:, c], positive[:, c]) for c in range(s.shape[1])])
    return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")


def auc(scores: Tensor, labels: Tensor, task: str = "multi-class") -> float:
    """Macro one-vs-rest area under the ROC curve, in [0, 1].

    ``scores`` (N, C), for ``binary`` also (N,) or (N, 1) (the last column is used); ``labels`` (N,),
    or (N, L) in {0, 1} for ``multi-label``. Classes without a positive or a negative row are left out
    (:func:`.one_sided_classes` names them); NaN if no class is left.

    >>> import torch
    >>> auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]), "binary")
    0.75
    """
    return _one_vs_rest(_binary_auc, scores, labels, task)


def auprc(scores: Tensor, labels: Tensor, task: str = "multi-class") -> float:
    """Macro one-vs-rest average precision, in [0, 1]; shapes and NaN as for :func:`auc`.

    Area under the precision-recall curve without interpolation, computed by scikit-learn.

    >>> import torch
    >>> round(auprc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]), "binary"), 4)
    0.8333
    """
    return _one_vs_rest(_average_precision, scores, labels, task)


def accuracy(scores: Tensor, labels: Tensor, task: str = "multi-class", *, threshold: float = 0.5) -> float:
    """Fraction of correct predictions, in [0, 1].

    Top-1; for ``binary`` and ``multi-label``, scores above ``threshold`` are positive, and multi-label
    accuracies are averaged over the labels. Shapes as for :func:`auc`.

    >>> import torch
    >>> accuracy(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    0.5
    """
    from sklearn.metrics import accuracy_score

    s, y = _arrays(scores, labels, task)
    if task == "multi-label":
        positive = s > threshold
        return float(np.mean([accuracy_score(y[:, c], positive[:, c]) for c in range(s.shape[1])]))
    prediction = s > threshold if task == "binary" else s.argmax(axis=1)
    return float(accuracy_score(y, prediction))


def right_predictions(scores: Tensor, labels: Tensor, task: str, weights: Tensor | None = None) -> Tensor:
    """Numbers (S,) of correct predictions of S sets of scores (S, N, C), without device synchronisation.

    ``labels`` (S, N) or (1, N); for ``multi-label`` (·, N, L), with one prediction per row and label.
    Divided by the number of predictions it is the :func:`accuracy`; ``weights``, shaped as ``labels``,
    multiply each prediction.
    """
    if task == "multi-label":
        right = (scores > 0.5) == (labels == 1)
    else:
        right = ((scores[..., 0] > 0.5).long() if task == "binary" else scores.argmax(2)) == labels
    return (right if weights is None else right * weights).flatten(1).sum(1)


def top1(scores: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy in [0, 1] of (N, C) scores and labels (N,)."""
    return accuracy(scores, labels, "multi-class")


def calibration_error(scores: Tensor, labels: Tensor, task: str = "multi-class") -> float:
    """Expected calibration error in [0, 1] of the predicted class, with 15 equal bins of confidence.

    Guo et al., "On Calibration of Modern Neural Networks", 2017, Eq. 3, by torchmetrics. ``binary`` is
    treated as two classes, ``multi-label`` as the mean over binary tasks. Shapes as for :func:`auc`.
    Raises ValueError if scores lie outside [0, 1].

    >>> calibration_error(torch.tensor([[0.8, 0.2]] * 5), torch.tensor([0, 0, 0, 0, 1])) < 1e-6
    True
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    s, y = _arrays(scores, labels, task)
    if not (s.min() >= -1e-3 and s.max() <= 1 + 1e-3):
        raise ValueError(f"scores in [{s.min():.3g}, {s.max():.3g}]: probabilities in [0, 1] are needed")
    if task == "multi-label":
        parts = [calibration_error(scores[:, c], labels[:, c], "binary") for c in range(s.shape[1])]
        return float(np.mean(parts))
    s = s.clip(0, 1).astype(np.float64)
    probabilities = torch.from_numpy(np.stack([1 - s, s], axis=1) if task == "binary" else s)
    if probabilities.shape[1] == 1:
        probabilities = torch.cat([probabilities, 1 - probabilities], dim=1)
    target = torch.from_numpy(y.astype(np.int64))
    return float(multiclass_calibration_error(probabilities, target, probabilities.shape[1], n_bins=BINS))


def evaluate_scores(scores: Tensor, labels: Tensor, task: str) -> dict[str, Any]:
    """Compute all metrics of the result files; each except the confusion matrices is a number in [0, 1].

    ``acc``, ``auc`` and ``auprc``; ``top5`` for 20 or more classes; ``kappa`` with quadratic weights for
    ordinal classes; ``balanced_acc``, the mean recall over the classes in the labels; ``f1``, the mean over
    the classes in labels or predictions; ``ece``, see :func:`calibration_error`; ``confusion``, counts
    with true classes as rows and predicted classes as columns, for up to 100 classes. For ``multi-label``
    the metrics are means over the binary tasks, ``f1`` is that of the positive class, and
    ``multilabel_confusion`` has for each label the matrix [[TN, FP], [FN, TP]], for up to 100 labels.

    Args:
        scores: Class probabilities, shapes as for :func:`auc`.
        labels: (N,), or (N, L) in {0, 1}; all labelled.
        task: ``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``.

    Raises:
        ValueError: Shapes do not match, no rows, or scores outside [0, 1].
    """
    from sklearn.metrics import (
        cohen_kappa_score,
        confusion_matrix,
        f1_score,
        multilabel_confusion_matrix,
        top_k_accuracy_score,
    )

    s, y = _arrays(scores, labels, task)
    metrics: dict[str, Any] = {"acc": accuracy(scores, labels, task), "auc": auc(scores, labels, task)}
    metrics["auprc"] = auprc(scores, labels, task)
    if task == "multi-label":
        guess, columns = predicted_classes(s, task), range(s.shape[1])
        metrics["balanced_acc"] = float(np.mean([_balanced(y[:, c], guess[:, c]) for c in columns]))
        metrics["f1"] = float(np.mean([f1_score(y[:, c], guess[:, c], zero_division=0.0) for c in columns]))
        metrics["ece"] = calibration_error(scores, labels, task)
        if s.shape[1] <= CONFUSION_UP_TO:
            metrics["multilabel_confusion"] = multilabel_confusion_matrix(y, guess).tolist()
        return metrics
    guess = predicted_classes(s, task)
    classes = 2 if task == "binary" else s.shape[1]
    if task == "ordinal":
        metrics["kappa"] = float(cohen_kappa_score(y, guess, labels=range(classes), weights="quadratic"))
    if classes >= TOP5_FROM:
        metrics["top5"] = float(top_k_accuracy_score(y, s, k=5, labels=range(classes)))
    metrics["balanced_acc"] = _balanced(y, guess)
    metrics["f1"] = float(f1_score(y, guess, average="macro", zero_division=0.0))
    metrics["ece"] = calibration_error(scores, labels, task)
    if classes <= CONFUSION_UP_TO:
        metrics["confusion"] = confusion_matrix(y, guess, labels=range(classes)).tolist()
    return metrics


def confusion_counts(metrics: Mapping[str, Any]) -> list | None:
    """Confusion matrix (C, C) of the metrics, or (L, 2, 2) of the labels of ``multi-label``; None without.

    >>> confusion_counts({"multilabel_confusion": [[[5, 1], [0, 2]]]})
    [[[5, 1], [0, 2]]]
    """
    return metrics.get("confusion") or metrics.get("multilabel_confusion")


def predicted_classes(scores: np.ndarray, task: str) -> np.ndarray:
    """Return the predicted classes (N,) for scores (N, C), or (N, L) in {0, 1} for ``multi-label``.

    ``binary`` scores are probabilities of the positive class, (N,) or (N, 1).
    """
    if task == "multi-label":
        return (scores > 0.5).astype(np.int64)
    return (scores.reshape(len(scores)) > 0.5).astype(np.int64) if task == "binary" else scores.argmax(axis=1)


def _balanced(labels: np.ndarray, guess: np.ndarray) -> float:
    """Mean recall over the classes in ``labels``."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, guess, labels=np.unique(labels), average="macro", zero_division=0.0))
