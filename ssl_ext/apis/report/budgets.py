"""The table of label budgets: methods down, numbers of labels across."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_ext.evaluation import METRICS
from ssl_ext.evaluation.tables import Metric

from .comparison import Comparison, Line
from .references import References, labels_name, mode_of
from .text import Grid, metric_label, notes, stat_text

PROTOCOLS = ("budget", "linear", "finetune", "semi", "supervised")
NO_REFERENCES = References()


def budget_grid(
    comparisons: Sequence[Comparison],
    metrics: Sequence[str],
    *,
    title: str,
    references: References = NO_REFERENCES,
) -> Grid:
    """A row for each data set, method, mode and variant; a column for each number of labels.

    Protocols that train on labels of the data set itself are shown: linear probes as frozen, trained
    networks as unfrozen. Published figures follow the measured ones in brackets. Methods keep their order.
    """
    shown = [c for c in comparisons if c.condition.protocol in PROTOCOLS and c.condition.target is None]
    methods: dict[str, None] = {}
    places: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
    columns: dict[str, tuple[int, float]] = {}
    compared = False
    for comparison in shown:
        labels = labels_name(comparison.condition)
        for line in comparison.lines:
            name = line.method + (f" [{line.variant}]" if line.variant else "")
            methods[name] = None
            cells = places.setdefault((comparison.data, name, mode_of(comparison.condition)), {})
            for metric in metrics:
                if metric not in line.stats:
                    continue
                columns[labels] = _order(labels)
                published = _published(references, line, metric)
                compared |= published is not None
                text = stat_text(line, metric) + (f" ({published})" if published else "")
                # Several protocols measure "all" in the same way.
                cells.setdefault((labels, metric), text)
    names = sorted(columns, key=columns.__getitem__)
    order = list(methods)
    rows = [
        [*place, *(cells.get((labels, metric), "-") for labels in names for metric in metrics)]
        for place, cells in sorted(places.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
        if cells
    ]
    header = ["data", "method", "backbone"]
    header += [f"{labels}: {metric_label(metric)}" for labels in names for metric in metrics]
    about = [f"In brackets: {references.source}"] if compared else []
    return Grid(title, header, rows, 3, [*about, *notes(shown)])


def _published(references: References, line: Line, metric: str) -> str | None:
    """A published figure in the metric's unit, with the digits of publications."""
    value = references.figure(line.rows[0], metric)
    scale = METRICS.get(metric, Metric(metric)).scale
    return None if value is None else f"{scale * value:.{1 if scale == 100 else 3}f}"


def _order(labels: str) -> tuple[int, float]:
    """Sort key: numbers of labels, then labels per class, then shares, then all."""
    kinds = ((1, "/class"), (2, " %"))
    for place, ending in kinds:
        if labels.endswith(ending):
            return place, float(labels.removesuffix(ending))
    return (3, 0.0) if labels == "all" else (0, float(labels))
