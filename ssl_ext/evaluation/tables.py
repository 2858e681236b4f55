"""Aggregation of result rows over seeds and draws, and tables for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table

from .conditions import Condition
from .identity import group_key, independent, mark, spread_notes
from .metric_names import METRICS
from .results import ResultRow
from .stats import Stat, interval_notes, majority_stat, shown_metrics

WIDE_UP_TO = 4  # protocol columns that fit a terminal of 100 characters
MAJORITY = "most frequent class"
WIDE_LABELS = {"acc": "accuracy %", "balanced_acc": "balanced %", "kappa": "kappa", "auc": "AUC"}


def aggregate(
    rows: Sequence[ResultRow], *, metric: str = "acc", which: str = "last"
) -> dict[str, dict[Condition, Stat]]:
    """Mean, sample standard deviation and count over independent seeds and draws, by method and condition.

    ``which`` is ``'last'`` or ``'best'``. Methods and conditions keep the order of the rows; rows without
    the metric are skipped. Methods are named as in :func:`repeats`.
    """
    return {
        method: {condition: Stat.of_rows(members, metric, which) for condition, members in cells.items()}
        for method, cells in repeats([row for row in rows if metric in getattr(row, which)]).items()
    }


def repeats(rows: Sequence[ResultRow]) -> dict[str, dict[Condition, list[ResultRow]]]:
    """Independent repeats by method and condition.

    Rows with another network, checkpoint, data or settings, and different results with the same seed and
    draw, are listed under a numbered name: ``'SimCLR (2)'``.
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

    For up to four classification conditions: one row per method and one column per condition, with
    accuracy in percent (and balanced accuracy for imbalanced classes) / AUC; the supervised baseline
    shares the column of the linear probe with the same labels. Otherwise one row per condition and method,
    with the mean time of a measurement in seconds; clusterings have a separate table. For imbalanced classes
    there is a row for the majority-class baseline.
    """
    accuracies = aggregate(rows, metric="acc", which=which)
    columns = list(dict.fromkeys(_column(c, accuracies) for cells in accuracies.values() for c in cells))
    if len(columns) <= WIDE_UP_TO and all("acc" in row.last for row in rows):
        return _wide(rows, columns, which)
    tables = [_long(rows, metrics, which) for metrics in shown_metrics(rows)]
    filled = [table for table in tables if table.row_count]
    return filled[0] if len(filled) == 1 else Group(*filled)


def results_tables(rows: Sequence[ResultRow], which: str | None = None) -> list[Table | Group]:
    """:func:`results_table` of an epoch; by default of the last, and of the best where it differs."""
    epochs = [which] if which else ["last", *["best"] * any(row.best != row.last for row in rows)]
    return [results_table(rows, which=epoch) for epoch in epochs]


def _column(condition: Condition, methods: dict[str, dict[Condition, Stat]]) -> Condition:
    """Column of a condition in the wide table."""
    if condition.protocol == "supervised":
        linear = [c for cells in methods.values() for c in cells if c.protocol == "linear"]
        own = condition.labels, condition.target, condition.balance
        alike = [c for c in linear if (c.labels, c.target, c.balance) == own]
        return max(alike, key=lambda c: c.recipe == condition.recipe, default=condition)
    return condition


def _wide(rows: Sequence[ResultRow], columns: Sequence[Condition], which: str) -> Table:
    members = repeats([row for row in rows if "acc" in getattr(row, which)])
    ordinal = any("kappa" in getattr(row, which) for row in rows)
    shown = [one for one in shown_metrics(rows)[0] if one in WIDE_LABELS and (ordinal or one != "kappa")]
    found: dict[str, dict[str, dict[Condition, Stat]]] = {
        metric: aggregate(rows, metric=metric, which=which) for metric in shown
    }
    title = " / ".join(WIDE_LABELS[metric] for metric in shown)
    table = Table("method", title=f"{title}, {which} epoch", caption=_spread(rows))
    for column in columns:
        table.add_column(column.words, justify="right")

    for method, conditions in found["acc"].items():
        texts = dict.fromkeys(columns, "-")
        for condition, accuracy in conditions.items():
            others = [(metric, found[metric].get(method, {}).get(condition)) for metric in shown[1:]]
            cells = [accuracy.text("acc", count=True) + mark(members[method][condition])]
            # ± and n are shown once per cell.
            cells += [_text(stat and stat._replace(std=0.0, n=1), metric) for metric, stat in others]
            texts[_column(condition, found["acc"])] = " / ".join(cells)
        table.add_row(method, *texts.values())
    columns_of: dict[Condition, list[ResultRow]] = {column: [] for column in columns}
    for row in rows:
        columns_of[_column(Condition.from_row(row), found["acc"])].append(row)
    if any(majority_stat(members, "acc") for members in columns_of.values()):
        stats = [
            [(majority_stat(group, metric), metric) for metric in shown] for group in columns_of.values()
        ]
        table.add_row(MAJORITY, *(" / ".join(_text(*stat) for stat in cells) for cells in stats))
    return table


def _text(stat: Stat | None, metric: str) -> str:
    return "-" if stat is None else stat.text(metric)


def _long(rows: Sequence[ResultRow], metrics: Sequence[str], which: str) -> Table:
    """One row per condition and method, with the metrics that occur."""
    cells = {metric: aggregate(rows, metric=metric, which=which) for metric in metrics}
    shown = [metric for metric in metrics if cells[metric]]
    rows = [row for row in rows if any(metric in getattr(row, which) for metric in shown)]
    table = Table(title=f"{which} epoch, mean ± std over n repeats", caption=_spread(rows))
    for header in ("protocol", "method"):
        table.add_column(header, overflow="fold", min_width=8)
    for header in (*(METRICS[metric].label for metric in shown), "n", "s"):
        table.add_column(header, justify="right")
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
                *map(_text, stats, shown),
                str(len(members)),
                _seconds(members),
            )
    targets: dict[str | None, list[ResultRow]] = {}
    for row in rows:
        targets.setdefault(row.target, []).append(row)
    for target, group in targets.items():
        if majority_stat(group, shown[0]) is not None:
            table.add_section()
            texts = [_text(majority_stat(group, metric), metric) for metric in shown]
            table.add_row(target or "", MAJORITY, *texts, "-", "-")
    for column in table.columns[2:]:  # numbers are never truncated
        words = [word for cell in (column.header, *column.cells) for word in str(cell).split()]
        column.min_width = max(map(len, words))
    return table


def _spread(rows: Sequence[ResultRow]) -> str | None:
    """Caption that explains ± and intervals."""
    cells = [(c.words, members) for found in repeats(rows).values() for c, members in found.items()]
    return "\n".join([*spread_notes(cells), *interval_notes(rows)]) or None


def _seconds(rows: Sequence[ResultRow]) -> str:
    times = [row.cost["wall_s"] for row in rows if "wall_s" in row.cost]
    return f"{statistics.fmean(times):.1f}" if times else "-"
