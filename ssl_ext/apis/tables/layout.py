"""A table as it stands: rows x columns of cells, compared with a reference row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ssl_ext.evaluation import METRICS, Condition, ResultRow, Stat
from ssl_ext.evaluation.identity import data_name
from ssl_ext.evaluation.metric_names import Metric
from ssl_ext.evaluation.results import UNTRAINED
from ssl_ext.evaluation.significance import clear_best, holm, paired_t, seeds_interval

from .jobs import Job, State
from .plan import Plan
from .progress import Run

Ends = tuple[float, float] | None


class Over(NamedTuple):
    """Mean difference over ``n`` shared seeds, its 95 % interval and the p-value of the paired t-test."""

    n: int
    mean: float
    ends: Ends
    t_p: float | None


@dataclass(frozen=True)
class Difference:
    """Difference of a figure from that of row ``base``, over shared seeds.

    With one seed ``over`` has the interval of a paired bootstrap over test images, if scores are stored.
    ``p`` is that of the paired t-test, with Holm's correction for all tests of the table; None for fewer than
    five seeds.
    """

    base: int
    over: Over
    p: float | None = None


@dataclass(frozen=True)
class Figure:
    """A cell's metric under one recipe.

    ``values`` are means over label draws, by seed. ``stat`` has the 95 % interval over seeds (Student's t),
    or that of a single measurement. ``reasons`` are the differences from the publication; without any, the
    published figure ``printed`` (``-`` if there is none) may stand beside it. ``best``: better than all
    other rows of its column by paired t-tests (:func:`ssl_ext.evaluation.significance.clear_best`).
    """

    recipe: str
    values: Mapping[int, float]
    rows: Sequence[ResultRow]
    stat: Stat
    printed: str = "-"
    reasons: Sequence[str] = ()
    difference: Difference | None = None
    best: bool = False


@dataclass(frozen=True)
class Box:
    """A cell for all seeds: its figures by recipe, and its runs, or a ``note`` why it has none.

    ``recipes`` are those of its figures, also of those that are not measured yet; empty if there is one only.
    """

    at: Mapping[str, Any]
    metric: str
    protocol: str
    recipes: Sequence[str]
    figures: Mapping[str, Figure]
    runs: Sequence[Run]
    note: str | None

    @property
    def format(self) -> Metric:
        """Format of the metric."""
        return METRICS.get(self.metric, Metric(self.metric, better=0))

    def of_status(self, status: str) -> list[Run]:
        """Runs with a status."""
        return [run for run in self.runs if run.status == status]


@dataclass(frozen=True)
class Layout:
    """A table as it stands, and its jobs with their states.

    ``heads`` are the values of the row axes. ``columns`` pairs the words of a column with a recipe, or None
    if it has no figures; a column with figures under several recipes is there for each. ``boxes[i][j]`` is
    the cell of row i in column j.
    """

    plan: Plan
    heads: Sequence[Sequence[str]]
    columns: Sequence[tuple[str, str | None]]
    boxes: Sequence[Sequence[Box]]
    jobs: Mapping[str, Job]
    states: Mapping[str, State]

    def figure(self, row: int, column: int) -> Figure | None:
        """Figure of a cell under the column's recipe, or None."""
        return self.boxes[row][column].figures.get(self.columns[column][1] or "")

    def figures(self) -> Iterator[tuple[int, int, Figure]]:
        """Row, column and figure of all cells that have one, row by row."""
        for i, j in itertools.product(range(len(self.heads)), range(len(self.columns))):
            if figure := self.figure(i, j):
                yield i, j, figure


OverImages = Callable[[Figure, Figure, str], Ends]
"""Interval of the difference of two figures of one seed in a metric."""


def compared(layout: Layout, over_images: OverImages) -> Layout:
    """Mark the best figures, and add differences from reference rows with corrected p-values.

    Figures of a column are compared if they have the same data, labels and kind of protocol
    (:func:`_comparable`): with the first of them whose row has the values ``plan.reference``, or without
    ``reference`` with the first of all. None has a difference while that figure is not measured.
    """
    new: dict[tuple[int, int], Figure] = {}
    wanted = {layout.plan.rows.index(axis): str(value) for axis, value in layout.plan.reference.items()}
    for column in range(len(layout.columns)):
        groups: dict[tuple, dict[int, Figure]] = {}
        for i in range(len(layout.heads)):
            if figure := layout.figure(i, column):
                groups.setdefault(_comparable(figure), {})[i] = figure
        for found in groups.values():
            box = layout.boxes[next(iter(found))][column]
            best = _best(found, box.format.better)
            named = [i for i in found if all(layout.heads[i][at] == value for at, value in wanted.items())]
            base = named[0] if named else None
            if base is not None and not wanted and any(_awaited(layout, i, column) for i in range(base)):
                base = None
            for i, figure in found.items():
                over = None
                if base is not None and i != base:
                    over = _difference(figure, found[base], box.metric, over_images)
                difference = Difference(base, over) if base is not None and over else None
                new[i, column] = replace(figure, best=i == best, difference=difference)
    tested = {key: p for key, figure in new.items() if (p := _t_p(figure)) is not None}
    for key, p in zip(tested, holm(list(tested.values())), strict=True):
        if difference := new[key].difference:
            new[key] = replace(new[key], difference=replace(difference, p=p))
    boxes = [
        [
            replace(box, figures={**box.figures, new[i, j].recipe: new[i, j]}) if (i, j) in new else box
            for j, box in enumerate(row)
        ]
        for i, row in enumerate(layout.boxes)
    ]
    return replace(layout, boxes=boxes)


def _awaited(layout: Layout, row: int, column: int) -> bool:
    """True if a cell has runs but no figure yet under the column's recipe."""
    box = layout.boxes[row][column]
    measured = layout.figure(row, column) is not None
    return bool(box.runs) and not measured and (not box.recipes or layout.columns[column][1] in box.recipes)


def _comparable(figure: Figure) -> tuple:
    """Data set, labels, and protocol; all protocols that train on labels are of one kind."""
    row = figure.rows[0]
    kind = row.protocol if row.protocol in UNTRAINED else "trained"
    return data_name(row), Condition.from_row(row).labels, kind


def _best(found: Mapping[int, Figure], better: int) -> int | None:
    rows = [i for i, figure in found.items() if better and not math.isnan(figure.stat.mean)]
    means = [better * found[i].stat.mean for i in rows]
    best = clear_best(means, lambda a, b: _shared(found[rows[a]], found[rows[b]]))
    return None if best is None else rows[best]


def _difference(figure: Figure, base: Figure, metric: str, over_images: OverImages) -> Over | None:
    first, second = _shared(figure, base)
    if not first:
        return None
    values = [a - b for a, b in zip(first, second, strict=True)]
    ends = over_images(figure, base, metric) if len(values) == 1 else seeds_interval(values)
    return Over(len(values), sum(values) / len(values), ends, paired_t(first, second))


def _shared(first: Figure, second: Figure) -> tuple[list[float], list[float]]:
    """Values of two figures at shared seeds."""
    seeds = sorted(first.values.keys() & second.values.keys())
    return [first.values[seed] for seed in seeds], [second.values[seed] for seed in seeds]


def _t_p(figure: Figure) -> float | None:
    return figure.difference.over.t_p if figure.difference else None
