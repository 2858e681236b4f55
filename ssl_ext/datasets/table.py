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
        ValueError: not a CSV file in UTF-8, a needed column is missing, or there are no lines.
    """
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            separator = max(SEPARATORS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
            file.seek(0)
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            columns = [name.strip() for name in next(rows, [])]
            lines = [
                {
                    name: field.strip()
                    for name, field in zip(columns, [*row, *[""] * len(columns)], strict=False)
                }
                for row in rows
                if row
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged_file(path, f"is not a CSV file in UTF-8: {error}") from error
    if lacking := [name for name in needed if name not in columns]:
        there = ", ".join(columns) or "nothing"
        raise damaged_file(path, f"no column {lacking[0]!r} in its first line, only {there}")
    if not lines:
        raise damaged_file(path, "lists no files")
    return columns, lines
