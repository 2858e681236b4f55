"""Comparisons as tables of text: for the terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ssl_ext.escape import spreadsheet
from ssl_ext.evaluation import METRICS, Condition, ResultRow
from ssl_ext.evaluation.identity import mark, spread_notes
from ssl_ext.evaluation.stats import interval_notes, majority_stat
from ssl_ext.evaluation.tables import MAJORITY

from .comparison import Comparison, Line
from .grid import Grid

BOLD = "Bold: better than all comparable methods (paired t-tests over pretraining seeds, Holm, p < 0.05)."


def metric_label(metric: str) -> str:
    """Heading of a metric."""
    return METRICS[metric].label if metric in METRICS else metric


def stat_text(line: Line, metric: str, *, count: bool = False) -> str:
    """Format mean ± std (or the interval) of a line's metric; a dash if it has no value.

    ``*`` follows if a probe is not converged.
    """
    return line.stats[metric].text(metric, count=count) + mark(line.rows) if metric in line.stats else "-"


def majority_cells(rows: Sequence[ResultRow], metrics: Sequence[str]) -> list[str]:
    """Cells of the majority-class baseline; empty if classes are balanced."""
    stats = [majority_stat(rows, metric) for metric in metrics]
    if not any(stats):
        return []
    return ["-" if stat is None else stat.text(metric) for stat, metric in zip(stats, metrics, strict=True)]


def seconds_text(line: Line) -> str:
    """Mean wall time of a measurement in seconds."""
    seconds = line.mean_cost("wall_s")
    return "-" if seconds is None else f"{seconds:.1f}"


def variant_label(comparison: Comparison, variant: str) -> str:
    """Name of a variant: the condition, and its letter if there are several."""
    return comparison.condition.words + (f" [{variant}]" if variant else "")


def long_grid(comparisons: Sequence[Comparison], metrics: Sequence[str], *, title: str) -> Grid:
    """One row for each data set, condition, variant of the settings and method; the best is bold, by a test.

    Lines without any of the metrics are omitted.
    """
    shown = [c for c in comparisons if any(m in line.stats for line in c.lines for m in metrics)]
    several = len({comparison.data for comparison in shown}) > 1
    lines = [(c, line) for c in shown for line in c.lines if any(m in line.stats for m in metrics)]
    rows = [
        [
            *([comparison.data] if several else []),
            variant_label(comparison, line.variant),
            line.method,
            *(stat_text(line, metric) for metric in metrics),
            str(len(line.rows)),
            seconds_text(line),
        ]
        for comparison, line in lines
    ]
    words = 3 if several else 2
    bold = frozenset(
        (row, words + column)
        for row, (comparison, line) in enumerate(lines)
        for column, metric in enumerate(metrics)
        if comparison.best(metric, line.variant) is line
    )
    for data in dict.fromkeys(comparison.data for comparison in shown):
        members = [row for c in shown if c.data == data for line in c.lines for row in line.rows]
        if cells := majority_cells(members, metrics):
            rows.append([*([data] if several else []), "-", MAJORITY, *cells, "-", "-"])
    header = [*(["data"] if several else []), "protocol", "method", *map(metric_label, metrics), "n", "s"]
    return Grid(title, header, rows, words, notes(shown) + [BOLD] * bool(bold), bold)


def wide_grid(comparisons: Sequence[Comparison], metric: str, *, title: str) -> Grid:
    """One row for each method, one column for each comparison and variant of its settings."""
    several = len({comparison.data for comparison in comparisons}) > 1
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for comparison in comparisons:
        for line in comparison.lines:
            if metric not in line.stats:
                continue
            label = variant_label(comparison, line.variant)
            column = f"{comparison.data}: {label}" if several else label
            columns[column] = None
            cells.setdefault(line.method, {})[column] = stat_text(line, metric, count=True)
    rows = [[method, *(found.get(column, "-") for column in columns)] for method, found in cells.items()]
    return Grid(f"{title}: {metric_label(metric)}", ["method", *columns], rows, 1, notes(comparisons))


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Notes on differing settings, on the repeats behind each ±, and on intervals."""
    single = [line.rows[0] for c in comparisons for line in c.lines if len(line.rows) == 1]
    spread = [(c.condition.words, line.rows) for c in comparisons for line in c.lines]
    return [
        f"{comparison.data}, {comparison.condition.words} was measured with {len(comparison.variants)} "
        "different settings that cannot be compared: "
        + "; ".join(
            f"[{name}] {', '.join(f'{key} = {value}' for key, value in settings.items())}"
            for name, settings in comparison.variants.items()
        )
        for comparison in comparisons
        if len(comparison.variants) > 1
    ] + [*spread_notes(spread), *interval_notes(single)]


def measurements_csv(comparisons: Sequence[Comparison]) -> str:
    """Every line with all its metrics in full precision, costs, sources and settings."""
    metrics = list(dict.fromkeys(m for c in comparisons for line in c.lines for m in line.stats))
    records = [_record(comparison, line) for comparison in comparisons for line in comparison.lines]
    numbers = [f"{metric}_{part}" for metric in metrics for part in ("mean", "std", "low", "high")]
    columns = [*(name for name in records[0] if name not in ("settings", *numbers)), *numbers, "settings"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    for record in (dict(zip(columns, columns, strict=True)), *records):
        writer.writerow({key: spreadsheet(value) for key, value in record.items()})
    return text.getvalue()


def _record(comparison: Comparison, line: Line) -> dict[str, Any]:
    def joined(values: Sequence[Any]) -> str:
        return " ".join(dict.fromkeys(str(value) for value in values if value is not None))

    checkpoints = [row.source.get("checkpoint") or {} for row in line.rows]
    record: dict[str, Any] = {
        "data": comparison.data,
        "method": line.method,
        **dict(zip(Condition._fields, comparison.condition, strict=True)),
        "variant": line.variant,
        "epoch": line.which,
        "n": len(line.rows),
        "seeds": joined([row.seed for row in line.rows]),
        "wall_s": line.mean_cost("wall_s"),
        "peak_rss_mib": line.mean_cost("peak_rss_mib"),
        "peak_device_mib": line.mean_cost("peak_device_mib"),
        "checkpoint": joined([checkpoint.get("sha256") for checkpoint in checkpoints]),
        "config_hash": joined([row.source.get("config_hash") for row in line.rows]),
        "settings": json.dumps({**comparison.common, **comparison.variants[line.variant]}, sort_keys=True),
    }
    for metric, stat in line.stats.items():
        if stat.mean == stat.mean:
            ends = dict(zip(("low", "high"), stat.interval or (), strict=False))
            record |= {f"{metric}_mean": stat.mean, f"{metric}_std": stat.std}
            record |= {f"{metric}_{name}": end for name, end in ends.items()}
    return record
