"""Per-class metrics from stored scores."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_ext.escape import spreadsheet
from ssl_ext.evaluation import Predictions
from ssl_ext.evaluation.operating import FIGURES, Figure, class_figures

from .comparison import Comparison, Line
from .text import variant_label

NOT_PERCENT = ("auc", "auprc", "kappa", "f1")


class ClassTable(NamedTuple):
    """Per-class metrics of one line of the report."""

    title: str
    line: Line
    names: Sequence[str]
    figures: dict[int, dict[str, Figure]]


def class_tables(comparisons: Sequence[Comparison], specificity: float) -> list[ClassTable]:
    """Make a table for each line with stored scores: intervals of a single measurement, means of several."""
    tables = []
    for comparison in comparisons:
        for line in comparison.lines:
            if figures := _line_figures(line, specificity):
                names = line.rows[0].source.get("classes") or [
                    str(index) for index in range(max(figures) + 1)
                ]
                label = variant_label(comparison, line.variant)
                tables.append(ClassTable(f"{line.method}, {comparison.data}, {label}", line, names, figures))
    return tables


def _line_figures(line: Line, specificity: float) -> dict[int, dict[str, Figure]]:
    """Compute the metrics by class; empty if a repeat has no stored scores."""
    if any(row.predictions is None for row in line.rows):
        return {}
    single = len(line.rows) == 1
    found = [
        class_figures(
            Predictions.load(str(row.predictions)), line.which, specificity=specificity, intervals=single
        )
        for row in line.rows
    ]
    if single:
        return found[0]
    return {
        index: {name: Figure(float(np.mean([one[index][name].value for one in found]))) for name in FIGURES}
        for index in found[0]
    }


def figure_text(figure: Figure, name: str) -> str:
    """Format a metric with its interval, in percent except for :data:`NOT_PERCENT`; a dash for NaN.

    >>> figure_text(Figure(0.5, (0.25, 0.75)), "acc"), figure_text(Figure(0.5), "auc")
    ('50.0 [25.0,75.0]', '0.500')
    """
    if np.isnan(figure.value):
        return "-"
    scale, digits = (1, 3) if name in NOT_PERCENT else (100, 1)
    value, *ends = (f"{scale * one:.{digits}f}" for one in (figure.value, *(figure.ends or ())))
    return f"{value} [{','.join(ends)}]" if ends else value


def classes_csv(tables: Sequence[ClassTable], specificity: float) -> str:
    """Write all metrics in full precision as CSV, one row per class."""
    text = io.StringIO()
    columns = [f"{name}{part}" for name in FIGURES for part in ("", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["measurement", "class", "n", "specificity_wanted", *columns])
    for table in tables:
        for index, figures in table.figures.items():
            words = [spreadsheet(text) for text in (table.title, table.names[index])]
            cells = [
                "" if value is None or np.isnan(value) else value
                for name in FIGURES
                for value in (figures[name].value, *(figures[name].ends or (None, None)))
            ]
            writer.writerow([*words, len(table.line.rows), specificity, *cells])
    return text.getvalue()
