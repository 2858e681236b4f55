"""A table drawn again as its jobs finish: its files, and a live table in the terminal."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ssl_ext.files import replacing

from .layout import Layout
from .outputs import figures_grid, table_csv, table_grids, table_latex, table_markdown
from .page import render_table
from .scores import Scores
from .status import status_lines

EVERY = 2.0  # seconds between two readings
SHARE = 0.1  # most of the time that is spent on reading and drawing


def write_outputs(layout: Layout, folder: Path) -> list[Path]:
    """Write ``table.html``, ``.tex``, ``.csv`` and ``.md`` to the table's folder, each atomically."""
    texts = {
        "table.html": render_table(layout, folder),
        "table.tex": table_latex(layout),
        "table.csv": table_csv(layout),
        "table.md": table_markdown(layout),
    }
    with ExitStack() as stack:
        for name, text in texts.items():
            stack.enter_context(replacing(folder / name)).write(text.encode(errors="backslashreplace"))
    return [folder / name for name in texts]


class LiveTable:
    """Context that draws a table while its jobs run; call it as often as you like.

    The files are written again when the state of a job changed. A terminal shows the table, and the running
    and failed jobs below it, until the block ends; without a terminal nothing is printed.

    Args:
        folder: The table's folder, with ``plan.json``.
        console: Where to draw.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder, self.scores = folder, Scores(folder)
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.due = 0.0
        self.drawn: Any = None

    def __enter__(self) -> LiveTable:
        if self.live:
            self.live.start()
        self()
        return self

    def __exit__(self, *error: object) -> None:
        self.due = 0.0
        try:
            self()
        finally:
            if self.live:
                self.live.stop()

    def __call__(self) -> None:
        """Draw what changed, at most every two seconds, and less often if drawing takes long."""
        start = time.monotonic()
        if start < self.due:
            return
        layout = self.scores.read()
        if layout.states != self.drawn:
            write_outputs(layout, self.folder)
            self.drawn = layout.states
        if self.live:
            self.live.update(renderable(layout), refresh=True)
        took = time.monotonic() - start
        self.due = start + max(EVERY, took / SHARE)


def show_table(folder: Path, console: Any) -> None:
    """Print a planned table as it stands to a :class:`ssl_ext.cli.console.PlainConsole`; write its files.

    Raises:
        UserError: The folder has no plan, or a file is damaged.
    """
    layout = Scores(folder).read()
    console.print_grids(table_grids(layout))
    for line in status_lines(layout):
        console.print(line, soft_wrap=True)
    console.wrote(*write_outputs(layout, folder))


def renderable(layout: Layout) -> Group:
    """The table of figures, without its notes, and the states of its jobs, for a terminal."""
    grid = replace(figures_grid(layout), notes=())
    return Group(grid.rich(), *(Text(line) for line in status_lines(layout)))
