"""Aggregation of result rows over seeds and draws, and tables for the terminal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group
from rich.table import Table

from .conditions import Condition
from .identity import group_key, independent, mark, spread_notes
from .metric_names import METRICS, SHOWN, Metric
from .results import ResultRow

WIDE_UP_TO = 4  # protocol columns that fit a terminal of 100 characters
NARROW = 3  # metric columns that fit a terminal of 80 characters without wrapping


class Stat(NamedTuple):
    """Mean, sample standard deviation (0 for one value) and number of values.

    Mean and deviation are NaN if a value is not finite.
    """

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        """Statistics of one or more values."""
        if not all(map(math.isfinite, values)):
            return cls(math.nan, math.nan, len(values))
        return cls(
            statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values)
        )

    def text(self, metric: str) -> str:
        """Mean, and ± std for several values, in the metric's unit; "-" for NaN."""
        if math.isnan(self.mean):
            return "-"
        _, scale, digits, _ = METRICS.get(metric, Metric(metric))
        spread = f" ± {scale * self.std:.{digits}f}" if self.n > 1 else ""
        return f"{scale * self.mean:.{digits}f}{spread}"


def aggregate(
    rows: Sequence[ResultRow], *, metric: str = "acc", which: str = "last"
) -> dict[str, dict[Condition, Stat]]:
    """Mean, sample standard deviation and count over independent seeds and draws, by method and condition.

    ``which`` is ``'last'`` or ``'best'``. Methods and conditions keep the order of the rows; rows without
    the metric are skipped. The names of methods are those of :func:`repeats`.
    """
    return {
        method: {
            condition: Stat.of([getattr(row, which)[metric] for row in members])
            for condition, members in cells.items()
        }
        for method, cells in repeats([row for row in rows if metric in getattr(row, which)]).items()
    }


def repeats(rows: Sequence[ResultRow]) -> dict[str, dict[Condition, list[ResultRow]]]:
    """Independent repeats by method and condition.

    Rows of another network, checkpoint, data or settings, and those of a seed and draw that was measured
    again with another result, have a number: ``'SimCLR (2)'``.
    """
    groups: dict[str, list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(group_key(row), []).append(row)
    found: dict[str, dict[Condition, list[ResultRow]]] = {}
    for group in groups.values():
        condition, name, number = Condition.from_row(group[0]), group[0].method, 1
        for members in independent(group):
            while condition in found.get(name, {}):
                number += 1
                name = f"{group[0].method} ({number})"
            found.setdefault(name, {})[condition] = members
    return found


def results_table(rows: Sequence[ResultRow], *, which: str = "last") -> Table | Group:
    """Format results as a table for the terminal, mean ± std over seeds and draws.

    For up to four classification conditions: one row per method and one column per condition, accuracy in
    percent / AUC; the supervised baseline shares the column of the linear probe on the same labels. Else one
    row per condition and method, with the mean time of a measurement in seconds; clusterings stand apart.
    """
    accuracies = aggregate(rows, metric="acc", which=which)
    columns = list(dict.fromkeys(_column(c, accuracies) for cells in accuracies.values() for c in cells))
    if len(columns) <= WIDE_UP_TO and all("acc" in row.last for row in rows):
        return _wide(rows, columns, which)
    tables = [_long(rows, metrics, which) for metrics in SHOWN]
    filled = [table for table in tables if table.row_count]
    return filled[0] if len(filled) == 1 else Group(*filled)


def _column(condition: Condition, methods: dict[str, dict[Condition, Stat]]) -> Condition:
    """Column of a condition in the wide table."""
    if condition.protocol == "supervised":
        linear = [c for cells in methods.values() for c in cells if c.protocol == "linear"]
        alike = [c for c in linear if (c.labels, c.target) == (condition.labels, condition.target)]
        return max(alike, key=lambda c: c.recipe == condition.recipe, default=condition)
    return condition


def _wide(rows: Sequence[ResultRow], columns: Sequence[Condition], which: str) -> Table:
    accuracies, areas = (aggregate(rows, metric=metric, which=which) for metric in ("acc", "auc"))
    members = repeats([row for row in rows if "acc" in getattr(row, which)])
    table = Table("method", title=f"accuracy % / AUC, {which} epoch", caption=_spread(rows))
    for column in columns:
        table.add_column(column.words, justify="right")
    for method, cells in accuracies.items():
        texts = dict.fromkeys(columns, "-")
        for condition, accuracy in cells.items():
            area = areas.get(method, {}).get(condition)
            area_text = "-" if area is None else area._replace(n=1).text("auc")
            star = mark(members[method][condition])
            texts[_column(condition, accuracies)] = f"{accuracy.text('acc')}{star} / {area_text}"
        table.add_row(method, *texts.values())
    return table


def _long(rows: Sequence[ResultRow], metrics: Sequence[str], which: str) -> Table:
    """One row per condition and method, with the metrics that occur."""
    cells = {metric: aggregate(rows, metric=metric, which=which) for metric in metrics}
    shown = [metric for metric in metrics if cells[metric]]
    rows = [row for row in rows if any(metric in getattr(row, which) for metric in shown)]
    table = Table(title=f"{which} epoch, mean ± std over n repeats", caption=_spread(rows))
    for header in ("protocol", "method"):
        table.add_column(header, overflow="fold", min_width=8)
    for header in (*(METRICS[metric].label for metric in shown), "n", "s"):
        table.add_column(header, justify="right", no_wrap=len(shown) <= NARROW)
    groups: dict[Condition, dict[str, list[ResultRow]]] = {}
    for method, conditions in repeats(rows).items():
        for condition, members in conditions.items():
            groups.setdefault(condition, {})[method] = members
    for condition, methods in groups.items():
        table.add_section()
        for number, (method, members) in enumerate(methods.items()):
            stats = [cells[metric].get(method, {}).get(condition) for metric in shown]
            table.add_row(
                "" if number else condition.words,
                method + mark(members),
                *("-" if stat is None else stat.text(m) for m, stat in zip(shown, stats, strict=True)),
                str(len(members)),
                _seconds(members),
            )
    return table


def _spread(rows: Sequence[ResultRow]) -> str | None:
    """The caption that says over what a ± is."""
    cells = [(c.words, members) for found in repeats(rows).values() for c, members in found.items()]
    return "\n".join(spread_notes(cells)) or None


def _seconds(rows: Sequence[ResultRow]) -> str:
    times = [row.cost["wall_s"] for row in rows if "wall_s" in row.cost]
    return f"{statistics.fmean(times):.1f}" if times else "-"
