"""Class counts, and the majority-class baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .tasks import labelled_rows

UNEQUAL = 1.5  # classes are imbalanced from this ratio of the largest to the smallest class
LISTED_UP_TO = 100  # classes


def class_counts(labels: Any, num_classes: int) -> list[int]:
    """Count the labelled images of each class, for labels (N,) or (N, L).

    >>> class_counts([0, 2, 2, -1], 3)
    [1, 0, 2]
    """
    known = torch.as_tensor(labels).cpu()
    known = known[labelled_rows(known)]
    if known.ndim == 2:
        return known.sum(dim=0).tolist()
    return torch.bincount(known, minlength=num_classes).tolist()


def majority(train: Sequence[int], test: Sequence[int]) -> dict[str, float] | None:
    """Metrics of always predicting the most frequent training class, from class counts.

    None for balanced classes: in the reported split, the largest class has less than 1.5 times the images of
    the smallest.

    >>> majority([5, 9], [4, 6])
    {'acc': 0.6, 'balanced_acc': 0.5, 'f1': 0.375, 'kappa': 0.0, 'auc': 0.5}
    >>> majority([5, 9], [5, 6])
    """
    present = [count for count in test if count]
    if max(present) < UNEQUAL * min(present):
        return None
    right = test[int(np.argmax(train))]
    classes = len(present) + (right == 0)
    return {
        "acc": right / sum(test),
        "balanced_acc": float(right > 0) / len(present),
        "f1": 2 * right / (right + sum(test)) / classes,
        "kappa": 0.0,
        "auc": 0.5,
    }


def short_counts(counts: Sequence[int]) -> list[int] | dict[str, int]:
    """Return the counts; for more than 100 classes, their number and the smallest and largest count.

    >>> short_counts([3, 4]), short_counts([1, *[2] * 149])
    ([3, 4], {'classes': 150, 'least': 1, 'most': 2})
    """
    if len(counts) <= LISTED_UP_TO:
        return list(counts)
    return {"classes": len(counts), "least": min(counts), "most": max(counts)}
