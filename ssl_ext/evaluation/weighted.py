"""Classification metrics of weighted images, vectorised over many weightings (bootstrap resamplings)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class Counts(NamedTuple):
    """Summed weights (C, B) of true positives, positives and predictions, and (B,) of all images."""

    right: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    total: np.ndarray

    @property
    def sensitivity(self) -> np.ndarray:
        """Recall of each class; NaN without images of the class."""
        return _ratio(self.right, self.positive)

    @property
    def specificity(self) -> np.ndarray:
        """True negative rate of each class; NaN without images of other classes."""
        negative = self.total - self.positive
        return _ratio(negative - self.predicted + self.right, negative)

    @property
    def ppv(self) -> np.ndarray:
        """Precision of each class; NaN without predictions of the class."""
        return _ratio(self.right, self.predicted)

    @property
    def f1(self) -> np.ndarray:
        """F1 of each class; NaN without images and predictions of the class."""
        return _ratio(2 * self.right, self.positive + self.predicted)


@dataclass(frozen=True)
class Weighted:
    """Predictions whose metrics are computed for B weightings of the images at once; weights are (N, B).

    Equal weights give the metrics of :func:`ssl_ext.evaluation.metrics.evaluate_scores`. ``ece`` is not
    included: resampling biases it upwards, so its percentile interval has almost no coverage. Classes
    without positive or negative weight are left out of means.

    Args:
        labels: (N,), or (N, L) in {0, 1} for ``multi-label``.
        predicted: Predicted classes, shaped as ``labels``.
        task: Kind of labels.
        num_classes: Number of classes, or of labels.
        scores: Probabilities (N, C), for ``binary`` (N, 1); None disables AUC and AUPRC.
        in_top5: Mask (N,) of the images whose class is among the five highest scores.
    """

    labels: np.ndarray
    predicted: np.ndarray
    task: str
    num_classes: int
    scores: np.ndarray | None = None
    in_top5: np.ndarray | None = None

    def counts(self, weights: np.ndarray) -> Counts:
        """Sum the weights of true positives, positives and predictions per class."""
        positive, predicted, right = self._indicators
        found = [(mask @ weights).astype(np.float64) for mask in (right, positive, predicted)]
        return Counts(found[0], found[1], found[2], weights.sum(axis=0, dtype=np.float64))

    def metrics(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute every metric (B,) that is defined for the task and the stored scores."""
        counts = self.counts(weights)
        if self.task == "multi-label":
            wrong = counts.positive + counts.predicted - 2 * counts.right
            recalls = np.stack([counts.sensitivity, counts.specificity])
            f1 = np.where(np.isnan(counts.f1), 0.0, counts.f1).mean(axis=0)
            found = {
                "acc": 1 - (wrong / counts.total).mean(axis=0),
                "balanced_acc": _mean(_mean(recalls)),
                "f1": f1,
            }
        else:
            found = {
                "acc": counts.right.sum(axis=0) / counts.total,
                "balanced_acc": _mean(counts.sensitivity),
                "f1": _mean(counts.f1),
            }
        if self.task == "ordinal":
            found["kappa"] = self._kappa(counts, weights)
        if self.scores is not None:
            areas = np.stack([self.areas(column, weights) for column in range(self.scores.shape[1])])
            found["auc"], found["auprc"] = _mean(areas[:, 0]), _mean(areas[:, 1])
        if self.in_top5 is not None:
            found["top5"] = self.in_top5 @ weights / counts.total
        return found

    def areas(self, column: int, weights: np.ndarray) -> np.ndarray:
        """AUC and average precision (2, B) of a column of the scores."""
        segments, groups = self._ranking[column]
        # Cumulative weights at the boundaries of tied scores that include a positive image.
        above = np.cumsum(segments @ weights, axis=0, dtype=np.float64)
        new = (groups @ weights).astype(np.float64)
        right = np.cumsum(new, axis=0)
        positives = right[-1] if len(right) else np.zeros(weights.shape[1])
        negatives = above[-1] - positives
        false_before, false_after = above[:-1:2] - (right - new), above[1::2] - right
        true_negatives = negatives - (false_before + false_after) / 2
        roc = _ratio((new * true_negatives).sum(axis=0), positives * negatives)
        precision = np.divide(right, above[1::2], out=np.zeros_like(right), where=above[1::2] > 0)
        return np.stack([roc, _ratio((new * precision).sum(axis=0), positives)])

    @cached_property
    def _indicators(self) -> tuple[csr_array, csr_array, csr_array]:
        """Sparse (C, N) masks of positives, predictions and true positives."""
        if self.task == "multi-label":
            labels, predicted = self.labels.T == 1, self.predicted.T == 1
            masks = (labels, predicted, labels & predicted)
            return tuple(csr_array(mask.astype(np.float32)) for mask in masks)
        images, size = np.arange(len(self.labels)), (self.num_classes, len(self.labels))
        right = self.labels == self.predicted

        def mask(classes: np.ndarray, rows: np.ndarray) -> csr_array:
            return csr_array((np.ones(len(rows), np.float32), (classes, rows)), shape=size)

        return (
            mask(self.labels, images),
            mask(self.predicted, images),
            mask(self.labels[right], images[right]),
        )

    @cached_property
    def _ranking(self) -> list[tuple[csr_array, csr_array]]:
        assert self.scores is not None
        return [self._ranked(column) for column in range(self.scores.shape[1])]

    def _ranked(self, column: int) -> tuple[csr_array, csr_array]:
        """Sparse matrices that sum weights in descending order of scores.

        T groups of tied scores include a positive image. The first matrix (2 T + 1, N) sums the images
        before, in and between these groups, the second (T, N) the positive images of each group.
        """
        assert self.scores is not None
        order = np.argsort(-self.scores[:, column], kind="stable")
        score, positive = self.scores[order, column], self.is_positive(column)[order]
        starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
        ends = np.append(starts[1:], len(score))
        seen = np.concatenate([[0], np.cumsum(positive)])
        held = seen[ends] > seen[starts]
        bounds = np.stack([starts[held], ends[held]], axis=1).reshape(-1)
        count = len(order)
        return (
            _sums(order, np.concatenate([[0], bounds, [count]]), count),
            _sums(order[positive], np.concatenate([[0], seen[ends[held]]]), count),
        )

    def is_positive(self, column: int) -> np.ndarray:
        """Mask (N,) of the positive images of a column of the scores."""
        return self._of_column(self.labels, column)

    def is_predicted(self, column: int) -> np.ndarray:
        """Mask (N,) of the images that are predicted to be positive in a column of the scores."""
        return self._of_column(self.predicted, column)

    def _of_column(self, classes: np.ndarray, column: int) -> np.ndarray:
        if self.task == "multi-label":
            return classes[:, column] == 1
        return classes == (1 if self.task == "binary" else column)

    def _kappa(self, counts: Counts, weights: np.ndarray) -> np.ndarray:
        """Cohen's kappa with quadratic weights."""
        distance = (self.labels.astype(np.float64) - self.predicted) ** 2
        grid = np.subtract.outer(np.arange(self.num_classes), np.arange(self.num_classes)) ** 2.0
        chance = (counts.positive * (grid @ counts.predicted)).sum(axis=0) / counts.total
        return 1 - _ratio(distance @ weights, chance)


def _sums(images: np.ndarray, bounds: np.ndarray, count: int) -> csr_array:
    """Sparse matrix (S, count); row s sums ``images[bounds[s]:bounds[s + 1]]``."""
    return csr_array((np.ones(len(images), np.float32), images, bounds), shape=(len(bounds) - 1, count))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of the entries that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
