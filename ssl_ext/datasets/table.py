"""CSV files with a header, separated by commas, semicolons or tabs."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.datasets.files import damaged_file

SEPARATORS = ",;\t"


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the lines of a CSV file, without spaces around fields.

    The separator is the one that gives most columns.

    Raises:
        ValueError: not a CSV file in UTF-8, a line with another number of fields than the first, a column
            named twice, a needed column is missing, or there are no lines.
    """
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            separator = max(SEPARATORS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
            file.seek(0)
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            columns = [name.strip() for name in next(rows, [])]
            lines = []
            for row in filter(None, rows):
                if len(row) != len(columns):
                    count = f"{len(row)} fields, but its first line {len(columns)}"
                    raise damaged_file(path, f"line {rows.line_num} has {count}")
                lines.append({name: field.strip() for name, field in zip(columns, row, strict=True)})
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged_file(path, f"is not a CSV file in UTF-8: {error}") from error
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise damaged_file(path, f"names the column {twice[0]!r} twice in its first line")
    if lacking := [name for name in needed if name not in columns]:
        there = ", ".join(columns) or "nothing"
        raise damaged_file(path, f"no column {lacking[0]!r} in its first line, only {there}")
    if not lines:
        raise damaged_file(path, "lists no files")
    return columns, lines
