"""The table of label budgets: one row per method, one column per number of labels."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_ext.evaluation import METRICS
from ssl_ext.evaluation.metric_names import Metric
from ssl_ext.evaluation.results import OWN

from .comparison import Comparison
from .grid import Grid
from .references import PROTOCOLS, Published, References, labels_name, mode_of
from .text import metric_label, notes, stat_text

NO_REFERENCES = References()


def budget_grid(
    comparisons: Sequence[Comparison],
    metrics: Sequence[str],
    *,
    title: str,
    references: References = NO_REFERENCES,
) -> Grid:
    """A row per data set, method, mode and variant of settings; a column per number of labels.

    The table has the protocols that train on labels of the data set: linear probes as frozen, trained
    networks as unfrozen. Published figures follow in brackets if method, recipe, data, pretraining, protocol
    and labels agree; otherwise † refers to a note on the differences. Methods keep the order of the rows.
    """
    shown = [c for c in comparisons if c.condition.protocol in PROTOCOLS and c.condition.target is None]
    methods: dict[str, None] = {}
    places: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
    columns: dict[str, tuple[int, float]] = {}
    published = Published()
    for comparison in shown:
        labels = labels_name(comparison.condition)
        for line in comparison.lines:
            name = line.method + (f" [{line.variant}]" if line.variant else "")
            methods[name] = None
            mode, recipe = mode_of(comparison.condition), comparison.condition.recipe
            mode += "" if recipe == OWN else f", {recipe}"
            mode += f", {balance}" if (balance := comparison.condition.balance) else ""
            cells = places.setdefault((comparison.data, name, mode), {})
            for metric in metrics:
                if metric not in line.stats:
                    continue
                columns[labels] = _order(labels)
                text = stat_text(line, metric, count=True)
                if near := references.of_rows(line.rows, metric, line.which):
                    reference, differences = near
                    place = f"{name} on {comparison.data}, {mode}, {labels} ({reference.source})"
                    printed = _published(reference.figure, metric)
                    text += published.beside(printed, reference.source, place, differences)
                # Several protocols measure "all" in the same way; keep the first.
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
    return Grid(title, header, rows, 3, [*published.notes(), *notes(shown)])


def _published(value: float, metric: str) -> str:
    """Format a published figure in the metric's unit: percent with one decimal, others with three."""
    scale = METRICS.get(metric, Metric(metric)).scale
    return f"{scale * value:.{1 if scale == 100 else 3}f}"


def _order(labels: str) -> tuple[int, float]:
    """Sort key: numbers of labels, then labels per class, fractions, and ``all``."""
    kinds = ((1, "/class"), (2, " %"))
    for place, ending in kinds:
        if labels.endswith(ending):
            return place, float(labels.removesuffix(ending))
    return (3, 0.0) if labels == "all" else (0, float(labels))
