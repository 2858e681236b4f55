"""A table of text for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from rich.table import Table
from rich.text import Text

from ssl_ext.errors import in_ascii
from ssl_ext.escape import latex, markdown

TERMINAL = 80  # characters in a line
WIDE = 7  # columns that fit a page of LaTeX
WORDS = 8  # minimum width of a column of words
BREAKS = re.compile(r"(?<!±)(?<!\+-) ")  # where a number may wrap


@dataclass(frozen=True)
class Grid:
    """A table of text; the first ``words`` columns are words, the others numbers.

    ``bold`` holds the row and column of cells in bold type.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    notes: Sequence[str] = field(default=())
    bold: frozenset[tuple[int, int]] = frozenset()

    def rich(self) -> Table:
        """Terminal table; words repeated from the row above are omitted, except in the last column."""
        table = Table(title=self.title, caption_justify="left")
        table.caption = "\n".join(self.notes) or None
        for name in self.header[: self.words]:
            table.add_column(name, overflow="fold", min_width=WORDS)
        for name, width in zip(self.header[self.words :], self._widths, strict=True):
            table.add_column(name, justify="right", width=width)
        above: list[str] = []
        for number, row in enumerate(self.rows):
            shared = [*row[: self.words - 1]]
            if shared != above:
                table.add_section()
            repeated = [""] * len(shared) if shared == above else shared
            cells = [
                Text(cell, "bold") if (number, column) in self.bold else cell
                for column, cell in enumerate(row)
            ]
            table.add_row(*repeated, *cells[len(shared) :])
            above = shared
        return table

    def in_ascii(self) -> Grid:
        """Return the table in ASCII."""
        rows = [[in_ascii(cell) for cell in cells] for cells in (self.header, *self.rows, self.notes)]
        return replace(self, title=in_ascii(self.title), header=rows[0], rows=rows[1:-1], notes=rows[-1])

    @property
    def least_width(self) -> int:
        """Terminal width in which :meth:`rich` shows all numbers without wrapping."""
        return self._line(self._widths)

    def _line(self, widths: Sequence[int]) -> int:
        return WORDS * self.words + sum(widths) + 3 * len(self.header) + 1  # with the frame

    @cached_property
    def _widths(self) -> list[int]:
        """Widths of the number columns; wrapped cells if whole cells do not fit a terminal."""
        columns = list(zip(self.header, *self.rows, strict=True))[self.words :]
        whole = [max(map(len, column)) for column in columns]
        broken = [max(len(part) for cell in column for part in BREAKS.split(cell)) for column in columns]
        return whole if self._line(whole) <= TERMINAL else broken

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        rule = ["---" if number < self.words else "---:" for number in range(len(self.header))]
        header, *rows = self._escaped(markdown, "**{}**")
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
        parts = [
            f"**{markdown(self.title)}**",
            table,
            "\n".join(f"- {markdown(note)}" for note in self.notes),
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def latex(self, label: str) -> str:
        """Return a LaTeX ``table`` for booktabs with the label ``tab:`` and ``label``.

        A table of many columns is scaled to the page (graphicx).
        """
        header, *rows = (" & ".join(cells) + r" \\" for cells in self._escaped(latex, r"\textbf{{{}}}"))
        caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (self.title, *self.notes))
        wide = len(self.header) > WIDE
        form = "l" * self.words + "r" * (len(self.header) - self.words)
        lines = [
            r"% \usepackage{booktabs,graphicx}" if wide else r"% \usepackage{booktabs}",
            r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", rf"\label{{tab:{label}}}",
            *[r"\resizebox{\linewidth}{!}{"] * wide,
            r"\begin{tabular}{" + form + "}", r"\toprule", header, r"\midrule", *rows, r"\bottomrule",
            r"\end{tabular}", *["}"] * wide, r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _escaped(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """Header and rows, escaped, with the format ``bold`` where it applies."""
        rows = [[escape(cell) for cell in cells] for cells in self.rows]
        for row, column in self.bold:
            rows[row][column] = bold.format(rows[row][column])
        return [[escape(cell) for cell in self.header], *rows]
