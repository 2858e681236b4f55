"""A table as text: for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ssl_ext.apis.compare.words import difference_text, p_text
from ssl_ext.apis.report.grid import Grid
from ssl_ext.apis.report.references import Published
from ssl_ext.config.recipes import CUSTOM
from ssl_ext.escape import markdown, spreadsheet
from ssl_ext.evaluation.identity import mark, spread_notes
from ssl_ext.evaluation.significance import T_FROM

from .evaluations import recipe_keys
from .headings import header, places, reference_text, table_title
from .jobs import FAILED
from .layout import Box, Figure, Layout
from .status import STATUSES, status_lines, status_text

INTERVALS = (
    "[a,b] is the 95 % interval over seeds (Student's t), or over the test images of one seed (bootstrap)."
)


def table_grids(layout: Layout) -> list[Grid]:
    """The figures, and if there are any the differences from the reference row."""
    grids = [figures_grid(layout)]
    if any(figure.difference for *_, figure in layout.figures()):
        grids.append(differences_grid(layout))
    return grids


def figures_grid(layout: Layout, *, intervals: bool = True) -> Grid:
    """A row per row of the table; a column per column and recipe, with published figures in brackets.

    Without ``intervals`` a figure has its standard deviation over seeds instead, as papers print it.
    """
    published = Published()
    columns, words = range(len(layout.columns)), len(layout.plan.rows)
    rows = [
        [*head, *(cell_text(layout, i, j, published, intervals=intervals) for j in columns)]
        for i, head in enumerate(layout.heads)
    ]
    figures = [figure for *_, figure in layout.figures()]
    bold = frozenset((i, words + j) for i, j, figure in layout.figures() if figure.best)
    notes = [*layout.plan.notes, *published.notes(lambda cells: places(layout, cells))]
    if intervals:
        notes += [INTERVALS] * any(figure.stat.interval for figure in figures)
    else:
        notes += ["± is the standard deviation over seeds."] * any(figure.stat.n > 1 for figure in figures)
    notes += [
        "Bold: better than every other row by paired t-tests over seeds, with Holm's correction."
    ] * any(figure.best for figure in figures)
    names = header(layout)
    custom = {
        f"evaluation.{key}"
        for _, j, figure in layout.figures()
        if names[words + j].endswith(f": {CUSTOM}")
        for row in figure.rows
        for key in recipe_keys([row.protocol], [str(row.mode)]) or [row.protocol]
    }
    notes += [f"{CUSTOM}: the config sets {', '.join(sorted(custom))}."] * bool(custom)
    notes += spread_notes((names[words + j], [row]) for _, j, one in layout.figures() for row in one.rows)
    return Grid(table_title(layout), names, rows, words, notes, bold)


def differences_grid(layout: Layout) -> Grid:
    """Differences of every row from the reference row, with intervals and p-values."""
    rows = []
    for i, head in enumerate(layout.heads):
        figures = [layout.figure(i, j) for j in range(len(layout.columns))]
        if any(figure and figure.difference for figure in figures):
            cells = [
                " ".join(difference_words(figure, layout.boxes[i][j])) or "-" if figure else "-"
                for j, figure in enumerate(figures)
            ]
            rows.append([*head, *cells])
    found = [figure.difference for *_, figure in layout.figures() if figure.difference]
    tests = sum(difference.p is not None for difference in found)
    notes = [
        "Means over shared seeds, with 95 % intervals (Student's t; one seed: paired bootstrap over images).",
    ]
    notes += [
        f"p: paired t-test over at least {T_FROM} seeds, with Holm's correction for the {tests} tests of the "
        "table."
    ] * bool(tests)
    return Grid(
        f"Difference from {reference_text(layout)}", header(layout), rows, len(layout.plan.rows), notes
    )


def cell_text(layout: Layout, row: int, column: int, published: Published, *, intervals: bool) -> str:
    """A figure with its interval and the published one, else the state of the runs."""
    box, figure = layout.boxes[row][column], layout.figure(row, column)
    if figure is None:
        return status_text(box)
    text = figure_text(figure, box)
    if not intervals:
        text = figure.stat._replace(interval=None).text(box.metric) + mark(figure.rows)
    if figure.printed != "-":
        text += published.beside(figure.printed, layout.plan.source, (row, column), figure.reasons)
    return text


def figure_text(figure: Figure, box: Box) -> str:
    """A figure with its interval, ``*`` if a probe is not converged, and its seeds if some are missing."""
    value, _, missing = value_text(figure, box).partition(" ")
    return " ".join(filter(None, [value, interval_text(figure, box), missing]))


def value_text(figure: Figure, box: Box) -> str:
    """The mean, ``*`` if a probe is not converged, and the number of seeds if some are missing."""
    missing = len(box.runs) - len(figure.values)
    seeds = f" {len(figure.values)}/{len(box.runs)}" if missing else ""
    return figure.stat._replace(n=1, interval=None).text(box.metric) + mark(figure.rows) + seeds


def interval_text(figure: Figure, box: Box) -> str:
    """The interval of a figure; empty without one."""
    _, scale, digits, _ = box.format
    ends = figure.stat.interval
    return "" if ends is None else f"[{scale * ends[0]:.{digits}f},{scale * ends[1]:.{digits}f}]"


def difference_words(figure: Figure, box: Box) -> list[str]:
    """A difference with its interval, and the p-value; empty without one."""
    if figure.difference is None:
        return []
    over, p = figure.difference.over, figure.difference.p
    text = difference_text(over.mean, over.ends, box.format)
    return [text] if p is None else [text, f"p={p_text(p)}".replace("=<", "<")]


def table_markdown(layout: Layout) -> str:
    """All tables and the state of the jobs."""
    status = "\n".join(f"- {markdown(line)}" for line in status_lines(layout))
    return "\n".join([*(grid.markdown() for grid in table_grids(layout)), f"{status}\n"])


def table_latex(layout: Layout) -> str:
    """All tables, for booktabs and graphicx; captions do not say why figures are not comparable."""
    figures, others = figures_grid(layout, intervals=False), table_grids(layout)[1:]
    notes = [note for note in figures.notes if not note.startswith("†")]
    if len(notes) < len(figures.notes):
        notes.append("† not comparable with the published figure")
    grids = [replace(figures, notes=notes), *others]
    names = [f"{layout.plan.name}-{number}" if number else layout.plan.name for number in range(len(grids))]
    return "\n".join(grid.latex(name) for grid, name in zip(grids, names, strict=True))


def table_csv(layout: Layout) -> str:
    """A line for each cell and recipe, in full precision."""
    records = list(_records(layout))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: spreadsheet(value) for key, value in record.items()})
    return text.getvalue()


def _records(layout: Layout) -> Iterator[dict[str, Any]]:
    for i, row in enumerate(layout.boxes):
        for j, box in enumerate(row):
            figure = layout.figure(i, j)
            over = figure.difference.over if figure and figure.difference else None
            ends = (figure.stat.interval if figure else None) or ("", "")
            record = {
                "metric": box.metric,
                "recipe": figure.recipe if figure else "",
                "mean": figure.stat.mean if figure else "",
                "std": figure.stat.std if figure else "",
                "low": ends[0],
                "high": ends[1],
                "n": len(figure.values) if figure else 0,
                "seeds": " ".join(map(str, figure.values)) if figure else "",
                "values": " ".join(map(str, figure.values.values())) if figure else "",
                "published": figure.printed if figure and not figure.reasons else "",
                "not_comparable": "; ".join(figure.reasons) if figure else "",
                "difference": over.mean if over else "",
                "difference_low": over.ends[0] if over and over.ends else "",
                "difference_high": over.ends[1] if over and over.ends else "",
                "p_holm": figure.difference.p if figure and figure.difference else "",
                **{status: len(box.of_status(status)) for status in STATUSES},
                "said": "; ".join(dict.fromkeys(run.words for run in box.of_status(FAILED)))
                or box.note
                or "",
                "jobs": " ".join(run.shared[-1] for run in box.runs),
            }
            axes = (*layout.plan.rows, *layout.plan.columns)
            # An axis may be called like one of these.
            at = {f"axis_{axis}" if axis in record else axis: box.at.get(axis, "") for axis in axes}
            yield at | record
