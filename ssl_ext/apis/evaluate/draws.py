"""Training rows that a measurement draws, and rows held out for selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ssl_ext.errors import user_errors
from ssl_ext.evaluation import (
    Splits,
    fraction_subset,
    hold_out,
    labelled_rows,
    labels_per_class_subset,
    random_subset,
)
from ssl_ext.evaluation.class_counts import class_counts

from .plan import Labels

HELD_OUT = 0.1
"""Fraction of the training images held out for selection if there is no validation split."""


@dataclass(frozen=True)
class Rows:
    """Rows of the train split that a measurement uses.

    ``trained``: rows of the reported model. ``fit``: rows to train on for selection, ``trained`` without
    ``held``. ``held``: held-out validation rows; None if there is a validation split.
    """

    trained: Tensor
    fit: Tensor
    held: Tensor | None

    @property
    def refit(self) -> bool:
        """True if the held-out rows are also in ``trained``, so the model is refitted after selection."""
        return len(self.fit) < len(self.trained)


def rows_of(images: Tensor, labels: Labels, splits: Splits) -> Rows:
    """Draw the rows for a set of labels; ``images`` are the labels of all images of the train split.

    Labels are drawn from the whole split. Without a validation split, rows that were not drawn are held out
    for selection. If all rows were drawn, a part of them is held out and the model is refitted on all rows
    after selection. A group (patient, lesion, slide) is never split. Data without labels give all rows.

    Raises:
        UserError: No class has two labelled rows, so nothing can be held out.
    """
    if splits.test is None:
        every = torch.arange(len(images))
        return Rows(every, every, None)
    groups = splits.groups
    drawn = drawn_rows(images, labels, groups if labels.by_group else None)
    if splits.val is not None:
        return Rows(drawn, drawn, None)
    left = images.clone()
    left[drawn if groups is None else torch.from_numpy(np.isin(groups, groups[drawn.numpy()]))] = -1
    rest = labelled_rows(left).nonzero()[:, 0]
    if len(rest) == 0:
        with user_errors("evaluation_dataset"):
            fit, held = hold_out(images, seed=labels.seed, fraction=HELD_OUT, groups=groups)
        return Rows(drawn, fit[torch.isin(fit, drawn)], held)
    share = HELD_OUT * (len(drawn) + len(rest)) / len(rest)
    try:
        held = hold_out(left, seed=labels.seed, fraction=min(share, 0.9), groups=groups)[1]
    except ValueError:  # one image of each class is left
        held = rest
    return Rows(drawn, drawn, held)


def drawn_rows(images: Tensor, labels: Labels, groups: np.ndarray | None = None) -> Tensor:
    """Draw rows from the labels of all images; whole ``groups`` if they are given, before undersampling."""
    if labels.undersampled:
        drawn = drawn_rows(images, replace(labels, undersampled=False), groups)
        counts = class_counts(images[drawn], int(images.max()) + 1)
        smallest = min(count for count in counts if count)
        return drawn[labels_per_class_subset(images[drawn], smallest, seed=labels.draw_seed)]
    if labels.whole:
        return labelled_rows(images).nonzero()[:, 0]
    draw: Callable[..., Tensor] = random_subset
    amount: float | None = labels.budget
    if labels.fraction is not None:
        draw, amount = fraction_subset, labels.fraction
    elif labels.per_class is not None:
        draw, amount = labels_per_class_subset, labels.per_class
    return draw(images, amount, seed=labels.draw_seed, groups=groups)
