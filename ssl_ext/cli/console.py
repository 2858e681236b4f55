"""The terminal that commands print to."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ssl_ext.errors import in_ascii

PIPED = 200
"""Characters in a line of tables that go to a file or a pipe, where COLUMNS is not set."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class PlainConsole(Console):
    """Prints text as it is, without markup, emoji codes and colours of words; in ASCII where it must be."""

    def __init__(self) -> None:
        super().__init__(file=sys.stdout, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = PIPED

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string; control characters, which could move the cursor, are escaped."""
        text = CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
        return super().render_str(in_ascii(text) if self.options.ascii_only else text, **options)

    def print_tables(self, *tables: Any) -> None:
        """Print rich tables; a terminal that is too narrow wraps lines instead of cutting off figures."""
        self.width = max(self.width, *(self.measure(table).minimum for table in tables))
        for table in tables:
            self.print(table)

    def print_grids(self, tables: Sequence[Any]) -> None:
        """Print tables of text (:class:`ssl_ext.apis.report.Grid`)."""
        if self.options.ascii_only:
            tables = [table.in_ascii() for table in tables]
        self.width = max(self.width, *(table.least_width for table in tables))
        for table in tables:
            self.print(table.rich())

    def wrote(self, *paths: Any) -> None:
        """Print a line for each written file or folder."""
        for path in paths:
            self.print(f"wrote {path}", soft_wrap=True)
