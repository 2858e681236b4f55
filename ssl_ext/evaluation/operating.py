"""Per-class metrics: for the predicted class, and at an operating point chosen on validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .bootstrap import bootstrap, interval, share_interval
from .predictions import Predictions

CLASSES_UP_TO = 100
FIGURES = (
    *("sensitivity", "specificity", "ppv", "npv"),
    *("auc", "auprc", "sensitivity_at", "specificity_reached"),
)


class Figure(NamedTuple):
    """A value in [0, 1] (NaN if undefined) and its 95 % interval, if any."""

    value: float
    ends: tuple[float, float] | None = None


def class_figures(
    predictions: Predictions, which: str, *, specificity: float, intervals: bool = True
) -> dict[int, dict[str, Figure]]:
    """Compute the one-vs-rest :data:`FIGURES` of each class (``binary``: class 1) on the reported images.

    Sensitivity, specificity, PPV and NPV are computed from the predicted classes. ``sensitivity_at`` and
    ``specificity_reached`` are computed at the threshold whose specificity on the validation images is at
    least ``specificity``. Intervals are bootstrapped over groups, but those of proportions of 0 and 1, which
    resampling does not vary, are exact for as many groups. Without groups those of proportions are Wilson's
    of the images, and those of AUC and AUPRC are bootstrapped over images. Empty for more than 100 classes,
    or if only the largest scores were stored.
    """
    weighted = predictions.weighted(which)
    val = predictions.val[which]
    if weighted.scores is None or val.classes is not None or predictions.num_classes > CLASSES_UP_TO:
        return {}
    columns = range(weighted.scores.shape[1])
    classes = [1] if predictions.task == "binary" else list(columns)
    positive = np.stack([weighted.is_positive(column) for column in columns])
    over = np.stack(
        [
            weighted.scores[:, column]
            > threshold(val.values[:, column], ~positive_images(predictions, column), specificity)
            for column in columns
        ]
    )

    def shares(weights: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Numerators and denominators (C, B) of the proportions."""
        counts = weighted.counts(weights)
        right, own, predicted = (part[classes] for part in counts[:3])
        negative, rejected = counts.total - own, counts.total - predicted
        return {
            "sensitivity": (right, own),
            "specificity": (negative - predicted + right, negative),
            "ppv": (right, predicted),
            "npv": (rejected - own + right, rejected),
            "sensitivity_at": (_sum(over & positive, weights), _sum(positive, weights)),
            "specificity_reached": (_sum(~over & ~positive, weights), _sum(~positive, weights)),
        }

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        areas = np.stack([weighted.areas(column, weights) for column in columns])
        found = {name: _ratio(*pair) for name, pair in shares(weights).items()}
        return found | {"auc": areas[:, 0], "auprc": areas[:, 1]}

    count = len(predictions.labels)
    ones = np.ones((count, 1), np.float32)
    plain, pairs = figures(ones), shares(ones)
    values = bootstrap(figures, count, predictions.groups) if intervals else {}

    predicted = np.stack([weighted.is_predicted(column) for column in columns])
    among = {"specificity": ~positive, "ppv": predicted, "npv": ~predicted, "specificity_reached": ~positive}

    def ends(name: str, row: int) -> tuple[float, float] | None:
        if not intervals:
            return None
        if name in pairs:
            part, whole = (round(float(sums[row, 0])) for sums in pairs[name])
            if predictions.groups is None:
                return share_interval(part, whole, method="wilson") if whole else None
            if whole and part in (0, whole):
                number = predictions.select(among.get(name, positive)[row]).units
                return share_interval(number * part // whole, number)
        return interval(values[name][row], predictions.units)

    return {
        own: {name: Figure(float(plain[name][row, 0]), ends(name, row)) for name in FIGURES}
        for row, own in enumerate(classes)
    }


def _sum(mask: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Summed weights (C, B) of masks (C, N)."""
    return (mask.astype(np.float32) @ weights).astype(np.float64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Ratio of sums; NaN if the denominator is 0."""
    with np.errstate(invalid="ignore"):
        return part / whole


def positive_images(predictions: Predictions, column: int) -> np.ndarray:
    """Mask of the positive validation images of a column of the scores."""
    labels = predictions.val_labels
    if predictions.task == "multi-label":
        return labels[:, column] == 1
    return labels == (1 if predictions.task == "binary" else column)


def threshold(scores: np.ndarray, negative: np.ndarray, specificity: float) -> float:
    """Lowest threshold that at most a fraction 1 − ``specificity`` of the negatives exceed; NaN without any.

    >>> threshold(np.array([0.1, 0.2, 0.3, 0.4, 0.9]), np.array([1, 1, 1, 1, 0]) > 0, 0.75)
    0.3
    """
    falling = np.sort(scores[negative])[::-1]
    if not len(falling):
        return float("nan")
    # (1 − 0.95) · 20 is slightly below 1 in floating point.
    return float(falling[min(int((1 - specificity) * len(falling) + 1e-9), len(falling) - 1)])
