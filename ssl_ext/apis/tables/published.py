"""The published figures of a table file."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set

from ssl_ext.apis.report.grid import Grid
from ssl_ext.apis.report.text import metric_label
from ssl_ext.config.papers import Cell, Table, read_table


def published_grid(path: str | os.PathLike) -> Grid:
    """Lay out the published figures of a table file by its rows and columns, as printed.

    Raises:
        UserError: The file is not a table.
    """
    table = read_table(path)
    lines = rows_of(table)
    return Grid(
        title=title(table.source, {cell.metric for cell in table.cells}, table.unit),
        header=[*table.rows, *(words_of(cell, table.columns) for cell in next(iter(lines.values())))],
        rows=[[*words, *(cell.printed for cell in cells)] for words, cells in lines.items()],
        words=len(table.rows),
    )


def title(source: str, metrics: Set[str], unit: str) -> str:
    """Title of a table: its publication, and its metric, or the unit of several metrics."""
    words = metric_label(*metrics) if len(metrics) == 1 else unit
    return f"{source} ({words})" if words else source


def rows_of(table: Table) -> dict[tuple[str, ...], list[Cell]]:
    """Cells of each row, by the values of the axes of rows."""
    rows: dict[tuple[str, ...], list[Cell]] = {}
    for cell in table.cells:
        rows.setdefault(tuple(str(cell.at[axis]) for axis in table.rows), []).append(cell)
    return rows


def words_of(cell: Cell, axes: Sequence[str]) -> str:
    """The values of a cell on some axes, joined."""
    return ", ".join(str(cell.at[axis]) for axis in axes)
