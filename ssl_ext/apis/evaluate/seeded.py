"""Rows of a data set that a seed draws, and holds out for choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import Subset

from ssl_ext.errors import user_errors
from ssl_ext.evaluation import (
    Banks,
    fraction_subset,
    hold_out,
    labelled_rows,
    labels_per_class_subset,
    random_subset,
    short_classes,
)

from .plan import Labels

if TYPE_CHECKING:
    from .data import EvaluationData, Features

HELD_OUT = 0.1
"""Share of the training images for choices, of a set without a validation split."""


@dataclass(frozen=True)
class Rows:
    """Rows of the train split that a measurement uses.

    ``trained`` are all rows of the reported result. Choices are made by training on ``fit``: the same rows,
    or those without ``held``. ``held`` are the held-out validation rows; None with a validation split.
    """

    trained: Tensor
    fit: Tensor
    held: Tensor | None

    @property
    def refit(self) -> bool:
        """True if the held-out rows are part of the trained ones."""
        return len(self.fit) < len(self.trained)


class SeededData:
    """Rows of a data set that a seed draws and holds out; the same in every process.

    Labels are drawn from the whole train split. Without a validation split, a part of the rows that were not
    drawn is held out for choices; where nothing is left, of all of them, for a refit after the choice.

    Raises:
        UserError: No class has two labelled rows, so that nothing can be held out.
    """

    def __init__(self, data: EvaluationData, seed: int) -> None:
        self.data, self.seed = data, seed
        self._rows: dict[Labels, Rows] = {}
        self.rows(Labels(seed))

    def rows(self, labels: Labels) -> Rows:
        """Rows for a set of labels."""
        if labels not in self._rows:
            self._rows[labels] = self._split(self._draw(labels))
        return self._rows[labels]

    def _draw(self, labels: Labels) -> Tensor:
        if labels.whole:
            return labelled_rows(self.data.labels).nonzero()[:, 0]
        draw: Callable[..., Tensor] = random_subset
        amount: float | None = labels.budget
        if labels.fraction is not None:
            draw, amount = fraction_subset, labels.fraction
        elif labels.per_class is not None:
            draw, amount = labels_per_class_subset, labels.per_class
        return draw(self.data.labels, amount, seed=labels.draw_seed)

    def _split(self, drawn: Tensor) -> Rows:
        if self.data.splits.val is not None:
            return Rows(drawn, drawn, None)
        left = self.data.labels.clone()
        left[drawn] = -1
        rest = labelled_rows(left).nonzero()[:, 0]
        if len(rest) == 0:
            with user_errors("evaluation_dataset"):
                fit, held = hold_out(self.data.labels, seed=self.seed, fraction=HELD_OUT)
            return Rows(drawn, fit, held)
        share = HELD_OUT * (len(drawn) + len(rest)) / len(rest)
        try:
            return Rows(drawn, drawn, hold_out(left, seed=self.seed, fraction=min(share, 0.9))[1])
        except ValueError:  # one image of each class is left
            return Rows(drawn, drawn, rest)

    def val(self, labels: Labels) -> Any:
        """The validation images: the validation split, or rows held out of train."""
        held = self.rows(labels).held
        return self.data.splits.val if held is None else Subset(self.data.splits.train, held.tolist())

    def short_classes(self, labels: Labels) -> dict[int, int]:
        """Classes with fewer rows than ``labels.per_class``, and how many they have."""
        return {} if labels.per_class is None else short_classes(self.data.labels, labels.per_class)

    def banks(self, features: Features, labels: Labels) -> Banks:
        """Features to fit on, to choose with and to report, on the device."""
        device, rows = self.data.device, self.rows(labels)
        fit, test = features.train.select(rows.fit).to(device), features.test.to(device)
        if rows.held is None:
            assert features.val is not None
            return Banks(fit, features.val.to(device), test)
        held = features.train.select(rows.held).to(device)
        final = features.train.select(rows.trained).to(device) if rows.refit else None
        return Banks(fit, held, test, final)

    def sizes(self, labels: Labels) -> dict[str, int]:
        """Numbers of labelled images that are trained on, chosen with and reported."""
        rows = self.rows(labels)
        val = self.data.val_images if rows.held is None else len(rows.held)
        return {"train": len(rows.trained), "val": val, "test": self.data.test_images}
