"""A table drawn again as its jobs finish: its files, and a live table in the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ssl_ext.errors import sentence
from ssl_ext.files import replacing

from .jobs import RUNNING
from .layout import Layout
from .outputs import figures_grid, table_csv, table_grids, table_latex, table_markdown
from .page import REFRESH, render_table
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

    The files are written again when the state of a job changed and, while jobs are running, as often as the
    page loads itself. A terminal shows the table, and the running and failed jobs below it, until the block
    ends; without a terminal nothing is printed.

    Args:
        folder: The table's folder, with ``plan.json``.
        console: Where to draw.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder, self.scores = folder, Scores(folder)
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.due = 0.0
        self.drawn: Any = None
        self.written = 0.0

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
        running = any(state.status == RUNNING for state in layout.states.values())
        if layout.states != self.drawn or (running and start >= self.written + REFRESH):
            write_outputs(layout, self.folder)
            self.drawn, self.written = layout.states, start
        if self.live:
            self.live.update(renderable(layout), refresh=True)
        took = time.monotonic() - start
        self.due = start + max(EVERY, took / SHARE)


def redraw(folder: Path) -> str | None:
    """Write the files of a planned table; return a sentence if that fails."""
    try:
        write_outputs(Scores(folder).read(), folder)
    except Exception as error:  # a table that cannot be drawn does not stop its jobs
        return f"Not drawn: {sentence(error)}"
    return None


def show_table(folder: Path, console: Any, reference: Mapping[str, Any] | None = None) -> None:
    """Print a planned table as it stands to a :class:`ssl_ext.cli.console.PlainConsole`; write its files.

    ``reference`` replaces the plan's row that others are compared with.

    Raises:
        UserError: The folder has no plan, or a file is damaged.
    """
    layout = Scores(folder, reference).read()
    console.print_grids(table_grids(layout))
    for line in status_lines(layout):
        console.print(line, soft_wrap=True)
    console.wrote(*write_outputs(layout, folder))


def renderable(layout: Layout) -> Group:
    """The table of figures, without its notes, and the states of its jobs, for a terminal."""
    grid = replace(figures_grid(layout), notes=())
    return Group(grid.rich(), *(Text(line) for line in status_lines(layout)))
