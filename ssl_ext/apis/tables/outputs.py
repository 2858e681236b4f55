"""A table as text: for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from ssl_ext.apis.compare.words import difference_text, p_text
from ssl_ext.apis.report.escape import markdown, spreadsheet
from ssl_ext.apis.report.grid import Grid
from ssl_ext.apis.report.references import Published
from ssl_ext.evaluation.identity import mark, spread_notes
from ssl_ext.evaluation.results import OWN
from ssl_ext.evaluation.significance import T_FROM

from .jobs import DONE, FAILED, OPEN, RUNNING
from .layout import Box, Figure, Layout

LISTED = 20  # failed and running runs in the notes
INTERVALS = (
    "[a,b] is the 95 % interval over seeds (Student's t), or over the test images of one seed (bootstrap)."
)
STATUSES = (DONE, RUNNING, FAILED, OPEN)


def table_grids(layout: Layout) -> list[Grid]:
    """The figures, and if there are any the differences from the reference row."""
    grids = [figures_grid(layout)]
    if any(figure.difference for *_, figure in layout.figures()):
        grids.append(differences_grid(layout))
    return grids


def figures_grid(layout: Layout) -> Grid:
    """A row per row of the table; a column per column and recipe, with published figures in brackets."""
    published = Published()
    columns, words = range(len(layout.columns)), len(layout.plan.rows)
    rows = [
        [*head, *(cell_text(layout, i, j, published) for j in columns)] for i, head in enumerate(layout.heads)
    ]
    figures = [figure for *_, figure in layout.figures()]
    bold = frozenset((i, words + j) for i, j, figure in layout.figures() if figure.best)
    notes = [*layout.plan.notes, *published.notes()]
    notes += [INTERVALS] * any(figure.stat.interval for figure in figures)
    notes += [
        "Bold: better than every other row by paired t-tests over seeds, with Holm's correction."
    ] * any(figure.best for figure in figures)
    notes += spread_notes((place(layout, i, j), [row]) for i, j, one in layout.figures() for row in one.rows)
    return Grid(layout.plan.source, header(layout), rows, words, notes, bold)


def differences_grid(layout: Layout) -> Grid:
    """Differences of every row from the reference row, with intervals and p-values."""
    rows = []
    for i, head in enumerate(layout.heads):
        figures = [layout.figure(i, j) for j in range(len(layout.columns))]
        if any(figure and figure.difference for figure in figures):
            cells = [
                difference_words(figure, layout.boxes[i][j]) if figure else "-"
                for j, figure in enumerate(figures)
            ]
            rows.append([*head, *cells])
    found = [figure.difference for *_, figure in layout.figures() if figure.difference]
    tests = sum(difference.p is not None for difference in found)
    reference = ", ".join(layout.heads[layout.reference])
    notes = [
        "Means over shared seeds, with 95 % intervals (Student's t; one seed: paired bootstrap over images).",
        f"p: paired t-test over at least {T_FROM} seeds, with Holm's correction for the {tests} tests of the "
        "table.",
    ]
    return Grid(f"Difference from {reference}", header(layout), rows, len(layout.plan.rows), notes)


def header(layout: Layout) -> list[str]:
    """Names of the row axes, then words and recipe of each column."""
    names = [words for words, _ in layout.columns]
    columns = [
        f"{words}: {recipe_text(recipe)}" if recipe and names.count(words) > 1 else words
        for words, recipe in layout.columns
    ]
    return [*layout.plan.rows, *columns]


def recipe_text(recipe: str) -> str:
    """Name of a recipe; the project's own solves the linear probe to convergence."""
    return "own recipe, converged probe" if recipe == OWN else recipe


def cell_text(layout: Layout, row: int, column: int, published: Published) -> str:
    """A figure with its interval and the published one, else the state of the runs."""
    box, figure = layout.boxes[row][column], layout.figure(row, column)
    if figure is None:
        return status_text(box)
    text = figure.stat.text(box.metric) + mark(figure.rows)
    if figure.printed != "-":
        text += published.beside(
            figure.printed, layout.plan.source, place(layout, row, column), figure.reasons
        )
    missing = len(box.runs) - len(figure.values)
    return text + (f" {len(figure.values)}/{len(box.runs)}" if missing else "")


def status_text(box: Box) -> str:
    """State of a cell without a figure: the most telling of its runs; ``-`` without runs."""
    found = [status for status in (RUNNING, FAILED, OPEN) if box.of_status(status)]
    return found[0] if found else "no figure" if box.runs else "-"


def difference_words(figure: Figure, box: Box) -> str:
    """A difference with its interval and p-value; ``-`` without one."""
    if figure.difference is None:
        return "-"
    over, p = figure.difference.over, figure.difference.p
    text = difference_text(over.mean, over.ends, box.format)
    return text if p is None else f"{text} p={p_text(p)}".replace("=<", "<")


def place(layout: Layout, row: int, column: int) -> str:
    """Words that name a cell."""
    return ", ".join([*layout.heads[row], header(layout)[len(layout.plan.rows) + column]])


def counts(layout: Layout) -> dict[str, int]:
    """Number of jobs by state."""
    running = {run.job for row in layout.boxes for box in row for run in box.of_status(RUNNING)}
    found = dict.fromkeys(STATUSES, 0)
    for name, state in layout.states.items():
        status = OPEN if state.status == RUNNING and name not in running else state.status
        found[status] += 1
    return found


def counts_text(layout: Layout) -> str:
    """Number of jobs by state, as a sentence."""
    number = counts(layout)
    return f"{len(layout.jobs)} jobs: " + ", ".join(f"{number[one]} {one}" for one in STATUSES) + "."


def status_lines(layout: Layout) -> list[str]:
    """Sentences on the number of jobs by state, on failed and running ones, and on cells without runs."""
    notes = [counts_text(layout)]
    for status in (FAILED, RUNNING):
        found = {run.job: run for row in layout.boxes for box in row for run in box.of_status(status)}
        for name, run in list(found.items())[:LISTED]:
            job = layout.jobs[name]
            about = " ".join([job.config, *job.options, f"seed {job.seed}"]).strip()
            notes.append(f"{status}: {about}: {run.words}")
        if len(found) > LISTED:
            notes.append(f"{len(found) - LISTED} more {status}.")
    without: dict[str, list[str]] = {}
    for i, row in enumerate(layout.boxes):
        for j, box in enumerate(row):
            if box.note:
                without.setdefault(box.note, []).append(place(layout, i, j))
    return notes + [f"not run: {note.rstrip('.')} ({'; '.join(places)})." for note, places in without.items()]


def table_markdown(layout: Layout) -> str:
    """All tables and the state of the jobs."""
    status = "\n".join(f"- {markdown(line)}" for line in status_lines(layout))
    return "\n".join([*(grid.markdown() for grid in table_grids(layout)), f"{status}\n"])


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
            yield {
                **{axis: box.at.get(axis, "") for axis in (*layout.plan.rows, *layout.plan.columns)},
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
