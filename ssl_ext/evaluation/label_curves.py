"""Scores over numbers of labels: curves of result rows, their power law and its extrapolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_ext.errors import UserError, user_errors

from .bootstrap import LEVEL
from .metric_names import METRICS
from .power_law import PowerLaw, fit_power_law
from .results import ResultRow

EQUAL = 1e-9
"""Scores that differ by less are equal."""
SLACK = 1e-3
"""Distance of a score from an interval that is no sign against a law."""
CAVEAT = (
    "The extrapolation is that of the fitted law; its interval covers the draws alone, and is too narrow if "
    "the law does not hold."
)


@dataclass(frozen=True)
class Point:
    """Mean score of the draws of ``n`` labels (or groups) and its 95 % interval (None: unknown).

    ``selection_labels`` is the number of validation labels that settings or epochs were selected on.
    """

    n: int
    mean: float
    ends: tuple[float, float] | None
    draws: int
    selection_labels: int = 0


@dataclass(frozen=True)
class Curve:
    """Scores of one way of training, their power law, and the score that it gives for ``next_n`` labels.

    ``law`` is None if the scores are equal for all numbers of labels.
    """

    name: str
    points: Sequence[Point]
    law: PowerLaw | None
    next_n: int

    def score(self, n: np.ndarray) -> np.ndarray:
        """Fitted score of numbers of labels; the constant score without a law."""
        return np.full(np.shape(n), self.points[-1].mean) if self.law is None else 1 - self.law.error(n)

    @property
    def expected(self) -> Point | None:
        """Extrapolated score; its interval is that of the fit over the draws. None without a law."""
        if self.law is None:
            return None
        ends = self.law.interval(self.next_n)
        return Point(
            self.next_n, 1 - float(self.law.error(self.next_n)), ends and (1 - ends[1], 1 - ends[0]), 0
        )

    def sentence(self, metric: str, unit: str) -> str:
        """The extrapolation in words, signs against it, and the number of labels used for selection."""
        label, scale, digits, _ = METRICS[metric]
        last, found = self.points[-1], self.expected
        name, percent = label.removesuffix(" %"), " %" * label.endswith(" %")
        score = f"{scale * last.mean:.{digits}f}{percent}"
        selected = selection_words(self.points)
        selection = selected and f" Settings or epochs were {selected}."
        if round(scale * last.mean, digits) == scale:
            return f"{self.name}: {name} is {score} with {last.n} {unit}: more cannot raise it.{selection}"
        if found is None:
            return (
                f"{self.name}: {name} is {score} with every number of {unit} from {self.points[0].n} to "
                f"{last.n}: there is no curve to extrapolate.{selection}"
            )
        ends = ""
        if found.ends is not None:
            ends = " [" + ", ".join(f"{scale * end:.{digits}f}" for end in found.ends) + "]"
        return (
            f"{self.name}: {self.next_n} {unit} would bring {name} {scale * found.mean:.{digits}f}{ends}"
            f"{percent}, after {score} with {last.n}.{selection}{self._doubt(found)}"
        )

    def _doubt(self, expected: Point) -> str:
        """Signs that the law does not hold, in words."""
        words = ""
        best = max(self.points, key=lambda point: point.mean)
        if expected.mean < (best.ends[0] if best.ends else best.mean) - SLACK:
            words += f" The law does not fit: {best.n} measured ones already gave more."
        outside = [
            point.n
            for point in self.points
            if point.ends
            and not point.ends[0] - SLACK <= self.score(np.array(point.n)) <= point.ends[1] + SLACK
        ]
        if outside:
            listed = ", ".join(map(str, outside))
            words += f" The law misses the interval of the draws at {listed}: do not rely on it."
        return words


def selection_words(points: Sequence[Point]) -> str:
    """The number of validation labels, or its range; empty if nothing was selected on them.

    >>> selection_words([Point(10, 0.5, None, 1, 78), Point(20, 0.5, None, 1, 54)])
    'selected on 54 to 78 validation labels'
    """
    counts = sorted({point.selection_labels for point in points})
    if not counts or not counts[-1]:
        return ""
    return f"selected on {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} validation labels"


def curves_of(
    rows: Sequence[ResultRow], metric: str, which: str, *, available: int, next_budget: int | None = None
) -> list[Curve]:
    """Curves of the rows of budgets, by method and mode.

    Args:
        rows: Result rows of the protocol ``budget`` and its baselines.
        metric: Name of a metric of at most 1.
        which: ``'last'`` or ``'best'`` epoch.
        available: Number of labels (or groups) of the rows without a budget.
        next_budget: Number of labels to extrapolate to; default: twice the largest one.

    Raises:
        UserError: A score is missing, or there are fewer than three different numbers of labels.
    """
    found: dict[str, dict[int, list[ResultRow]]] = {}
    for row in rows:
        name = row.method if row.protocol == "supervised" else f"{row.method}, {row.mode}"
        found.setdefault(name, {}).setdefault(row.budget or available, []).append(row)
    curves = []
    for name, cells in found.items():
        scores = {
            n: [getattr(row, which).get(metric, float("nan")) for row in own] for n, own in cells.items()
        }
        if not all(np.isfinite(one).all() for one in scores.values()):
            raise UserError(f"--metric {metric}: {name} has no such score for every number of labels.")
        points = [_point(n, scores[n], cells[n], metric, which) for n in sorted(scores)]
        law = None
        if np.ptp([point.mean for point in points]) > EQUAL:
            with user_errors(name):
                law = fit_power_law({n: [1 - score for score in own] for n, own in scores.items()})
        curves.append(Curve(name, points, law, next_budget or 2 * points[-1].n))
    return curves


def _point(n: int, scores: Sequence[float], rows: Sequence[ResultRow], metric: str, which: str) -> Point:
    """Mean over draws with Student's interval, within the metric's range; of one draw, over test images."""
    from scipy import stats

    mean, count = float(np.mean(scores)), len(scores)
    chose = max((row.settings.get("labels") or {}).get("chose", 0) for row in rows)
    if count == 1:
        ends = (rows[0].intervals.get(which) or {}).get(metric)
        return Point(n, mean, (ends[0], ends[1]) if ends and np.isfinite(ends).all() else None, 1, chose)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * np.std(scores, ddof=1) / count**0.5)
    lowest = -1.0 if metric == "kappa" else 0.0
    return Point(n, mean, (max(lowest, mean - half), min(1.0, mean + half)), count, chose)
