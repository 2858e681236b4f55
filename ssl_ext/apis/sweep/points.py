"""Results of a sweep: its points, a table, and lines for figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from rich.table import Table

from ssl_ext.evaluation.results import METRIC_TYPES
from ssl_ext.evaluation.stats import Stat


@dataclass
class Point:
    """One run of a sweep; ``status`` is ``'waiting'``, ``'done'`` or ``'failed'``.

    ``last`` and ``best`` hold the metrics (in [0, 1]) of each protocol.
    """

    settings: dict[str, Any]
    seed: int
    folder: str
    log: str
    status: str = "waiting"
    reason: str | None = None
    last: dict[str, Annotated[dict[str, Any], METRIC_TYPES]] = field(default_factory=dict)
    best: dict[str, Annotated[dict[str, Any], METRIC_TYPES]] = field(default_factory=dict)


@dataclass
class Summary:
    """Fields read from ``sweep.json``."""

    axes: list[str]
    points: list[Point]
    protocols: list[str]


def sweep_table(points: Sequence[Point], protocols: Sequence[str]) -> Table:
    """Make a row for each setting: accuracy in percent (last epoch), mean ± std over n seeds."""
    table = Table(title="accuracy %, last epoch")
    for name in points[0].settings:
        table.add_column("+\n".join(key.rpartition(".")[2] for key in name.split("+")))
    for protocol in protocols:
        table.add_column("kNN" if protocol == "knn" else protocol, justify="right")
    for group in _by_setting(points):
        failed = sum(point.status == "failed" for point in group)
        note = f"{failed} of {len(group)} failed" if len(group) > 1 else "failed"
        cells = []
        for protocol in protocols:
            accuracy = _accuracy(group, protocol)
            text = accuracy.text("acc", count=True) if accuracy else ""
            cells.append(
                " ".join(filter(None, [text, f"({note})" if failed and text else note * bool(failed)]))
            )
        table.add_row(*map(str, group[0].settings.values()), *cells)
    return table


def accuracy_lines(points: Sequence[Point], protocol: str) -> dict[str, list[tuple]]:
    """Lines for ``sweep_lines`` with one or two axes; failed points are omitted."""
    lines: dict[str, list[tuple]] = {}
    for group in _by_setting(points):
        value, *second = group[0].settings.values()
        if accuracy := _accuracy(group, protocol):
            value = value if isinstance(value, int | float) else str(value)
            deviation = 100 * accuracy.std if accuracy.n > 1 else None
            lines.setdefault(str(second[0]) if second else "", []).append(
                (value, 100 * accuracy.mean, deviation)
            )
    return lines


def _by_setting(points: Sequence[Point]) -> list[list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(str(point.settings), []).append(point)
    return list(groups.values())


def accuracies(points: Sequence[Point], protocol: str) -> list[list[float]]:
    """Accuracies in percent of the finished runs of each setting that are finite."""
    found = [[100 * score for score in _scores(group, protocol)] for group in _by_setting(points)]
    return [[score for score in scores if math.isfinite(score)] for scores in found]


def _scores(group: Sequence[Point], protocol: str) -> list[float]:
    return [point.last[protocol].get("acc", math.nan) for point in group if point.status == "done"]


def _accuracy(group: Sequence[Point], protocol: str) -> Stat | None:
    """Accuracy over the seeds, in [0, 1]; None without a finished run."""
    scores = _scores(group, protocol)
    return Stat.of(scores) if scores else None
