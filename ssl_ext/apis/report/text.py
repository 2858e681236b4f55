"""Comparisons as tables of text: for the terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rich.table import Table

from ssl_ext.errors import in_ascii
from ssl_ext.evaluation import METRICS, Condition
from ssl_ext.evaluation.identity import mark, spread_notes

from .comparison import Comparison, Line
from .escape import latex, markdown, spreadsheet

TERMINAL = 80  # characters in a line
WORDS = 8  # least width of a column of words
BREAKS = re.compile(r"(?<!±)(?<!\+-) ")  # where the line of a number may end


@dataclass(frozen=True)
class Grid:
    """A table of text; the first ``words`` columns are words, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    notes: Sequence[str] = field(default=())

    def rich(self) -> Table:
        """For the terminal; words equal to those of the row above are left out, except for the last."""
        table = Table(title=self.title, caption_justify="left")
        table.caption = "\n".join(self.notes) or None
        for name in self.header[: self.words]:
            table.add_column(name, overflow="fold", min_width=WORDS)
        for name, width in zip(self.header[self.words :], self._widths, strict=True):
            table.add_column(name, justify="right", width=width)
        above: list[str] = []
        for row in self.rows:
            shared = [*row[: self.words - 1]]
            if shared != above:
                table.add_section()
            repeated = [""] * len(shared) if shared == above else shared
            table.add_row(*repeated, *row[len(shared) :])
            above = shared
        return table

    def in_ascii(self) -> Grid:
        """The same table in ASCII."""
        rows = [[in_ascii(cell) for cell in cells] for cells in (self.header, *self.rows, self.notes)]
        return Grid(in_ascii(self.title), rows[0], rows[1:-1], self.words, rows[-1])

    @property
    def least_width(self) -> int:
        """Line width in which :meth:`rich` shows all numbers unbroken."""
        return self._line(self._widths)

    def _line(self, widths: Sequence[int]) -> int:
        return WORDS * self.words + sum(widths) + 3 * len(self.header) + 1  # with the frame

    @cached_property
    def _widths(self) -> list[int]:
        """Widths of the columns of numbers: of whole cells if they fit a terminal, else of broken ones."""
        columns = list(zip(self.header, *self.rows, strict=True))[self.words :]
        whole = [max(map(len, column)) for column in columns]
        broken = [max(len(part) for cell in column for part in BREAKS.split(cell)) for column in columns]
        return whole if self._line(whole) <= TERMINAL else broken

    def markdown(self) -> str:
        """GitHub's Markdown."""
        rule = ["---" if number < self.words else "---:" for number in range(len(self.header))]
        header, *rows = ([markdown(cell) for cell in cells] for cells in (self.header, *self.rows))
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
        parts = [
            f"**{markdown(self.title)}**",
            table,
            "\n".join(f"- {markdown(note)}" for note in self.notes),
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def latex(self) -> str:
        """A ``table`` for the package booktabs."""
        header, *rows = (" & ".join(map(latex, cells)) + r" \\" for cells in (self.header, *self.rows))
        caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (self.title, *self.notes))
        form = "l" * self.words + "r" * (len(self.header) - self.words)
        lines = [
            r"\begin{table}", r"\caption{" + latex(caption) + "}", r"\begin{tabular}{" + form + "}",
            r"\toprule", header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"


def metric_label(metric: str) -> str:
    """Heading of a metric."""
    return METRICS[metric].label if metric in METRICS else metric


def stat_text(line: Line, metric: str) -> str:
    """Mean ± std of a line's metric, with ``*`` if a probe is not converged; a dash where there is none."""
    return line.stats[metric].text(metric) + mark(line.rows) if metric in line.stats else "-"


def seconds_text(line: Line) -> str:
    """Mean wall time of a measurement in seconds."""
    seconds = line.mean_cost("wall_s")
    return "-" if seconds is None else f"{seconds:.1f}"


def variant_label(comparison: Comparison, variant: str) -> str:
    """Name of a variant: the condition, and its letter if there are several."""
    return comparison.condition.words + (f" [{variant}]" if variant else "")


def long_grid(comparisons: Sequence[Comparison], metrics: Sequence[str], *, title: str) -> Grid:
    """One row for each data set, condition, variant of the settings and method.

    Lines that have none of the metrics are left out.
    """
    shown = [c for c in comparisons if any(m in line.stats for line in c.lines for m in metrics)]
    several = len({comparison.data for comparison in shown}) > 1
    rows = [
        [
            *([comparison.data] if several else []),
            variant_label(comparison, line.variant),
            line.method,
            *(stat_text(line, metric) for metric in metrics),
            str(len(line.rows)),
            seconds_text(line),
        ]
        for comparison in shown
        for line in comparison.lines
        if any(metric in line.stats for metric in metrics)
    ]
    header = [*(["data"] if several else []), "protocol", "method", *map(metric_label, metrics), "n", "s"]
    return Grid(title, header, rows, 3 if several else 2, notes(shown))


def wide_grid(comparisons: Sequence[Comparison], metric: str, *, title: str) -> Grid:
    """One row for each method, one column for each comparison and variant of its settings.

    The supervised baseline is in the column of the linear probe with the same data and labels.
    """
    places = _columns(comparisons, metric)
    several = len({comparison.data for comparison in comparisons}) > 1
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for comparison in comparisons:
        for line in comparison.lines:
            if metric not in line.stats:
                continue
            home = places.get(id(comparison), comparison)
            label = variant_label(home, line.variant if home is comparison else "")
            column = f"{home.data}: {label}" if several else label
            columns[column] = None
            cells.setdefault(line.method, {})[column] = stat_text(line, metric)
    rows = [[method, *(found.get(column, "-") for column in columns)] for method, found in cells.items()]
    return Grid(f"{title}: {metric_label(metric)}", ["method", *columns], rows, 1, notes(comparisons))


def _columns(comparisons: Sequence[Comparison], metric: str) -> dict[int, Comparison]:
    """Linear comparisons that supervised ones move to, by the identity of the latter."""
    # The linear probe of the same recipe comes last, if there is one.
    return {
        id(supervised): linear
        for supervised in comparisons
        for linear in sorted(comparisons, key=lambda c: c.condition.recipe == supervised.condition.recipe)
        if (supervised.condition.protocol, linear.condition.protocol) == ("supervised", "linear")
        and (supervised.data, supervised.condition.labels) == (linear.data, linear.condition.labels)
        and max(len(supervised.variants), len(linear.variants)) == 1
    }


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """The differences of comparisons that were measured in several ways, and the repeats that a ± is over."""
    spread = [(c.condition.words, line.rows) for c in comparisons for line in c.lines]
    return [
        f"{comparison.data}, {comparison.condition.words} was measured in {len(comparison.variants)} ways "
        "that cannot be compared: "
        + "; ".join(
            f"[{name}] {', '.join(f'{key} = {value}' for key, value in settings.items())}"
            for name, settings in comparison.variants.items()
        )
        for comparison in comparisons
        if len(comparison.variants) > 1
    ] + spread_notes(spread)


def measurements_csv(comparisons: Sequence[Comparison]) -> str:
    """Every line with all its metrics in full precision, costs, sources and settings."""
    metrics = list(dict.fromkeys(m for c in comparisons for line in c.lines for m in line.stats))
    records = [_record(comparison, line) for comparison in comparisons for line in comparison.lines]
    numbers = [f"{metric}_{part}" for metric in metrics for part in ("mean", "std")]
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
            record |= {f"{metric}_mean": stat.mean, f"{metric}_std": stat.std}
    return record
