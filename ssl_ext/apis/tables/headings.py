"""Words for the rows, columns and cells of a table."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_ext.evaluation.results import OWN

from .layout import Layout
from .published import title

PROBES = ("linear", "transfer")  # protocols whose own recipe is a linear probe solved to convergence


def header(layout: Layout) -> list[str]:
    """Names of the row axes, then words of each column, with its recipe if there are several."""
    names = [words for words, _ in layout.columns]
    columns = []
    for j, (words, recipe) in enumerate(layout.columns):
        probe = any(row[j].protocol in PROBES for row in layout.boxes)
        shown = "converged" if probe and recipe == OWN else recipe
        columns.append(f"{words}: {shown}" if names.count(words) > 1 else words)
    return [*layout.plan.rows, *columns]


def table_title(layout: Layout) -> str:
    """Publication and metric."""
    metrics = {box.metric for row in layout.boxes for box in row if box.metric}
    return title(layout.plan.source, metrics, layout.plan.unit)


def reference_text(layout: Layout) -> str:
    """Words for the rows that figures are compared with."""
    bases = {figure.difference.base for *_, figure in layout.figures() if figure.difference}
    if len(bases) == 1:
        return ", ".join(layout.heads[bases.pop()])
    named = ", ".join(map(str, layout.plan.reference.values())) or "the first row"
    return f"{named} of the same data, labels and protocol"


def places(layout: Layout, cells: Sequence[tuple[int, int]]) -> str:
    """Words that name cells: rows, with columns where not all cells of a row are meant."""
    columns = header(layout)[len(layout.plan.rows) :]
    named = []
    for i, head in enumerate(layout.heads):
        found = [j for row, j in cells if row == i]
        with_figures = [j for j in range(len(columns)) if layout.figure(i, j)]
        if found:
            every = found in (with_figures, list(range(len(columns))))
            listed = "" if every else f" ({'; '.join(columns[j] for j in found)})"
            named.append(", ".join(head) + listed)
    return ", ".join(named)
