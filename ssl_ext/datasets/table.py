"""CSV files with a header, separated by commas, semicolons or tabs."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.datasets.files import damaged_file
from ssl_ext.files import shown

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


def path_below(root: str | os.PathLike, name: str) -> str | None:
    """Path relative to ``root`` of a file below it (through links too), None for another file."""
    if ".." not in name and not os.path.isabs(name):
        return name
    root = os.path.abspath(root)
    path = os.path.join(root, name)
    if ".." in Path(name).parts or not Path(path).is_relative_to(root):
        root = os.path.realpath(root)
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return os.path.relpath(path, root) if Path(path).is_relative_to(root) else None


def paths_below(path: Path, root: Path, lines: Sequence[dict[str, str]], option: str) -> list[str]:
    """Return the paths in the column ``file`` of a table, relative to ``root``.

    Raises:
        ValueError: a file is not below ``root``; the message names ``option``, which sets it.
    """
    found = []
    for number, line in enumerate(lines, start=2):
        if (name := path_below(root, line["file"])) is None:
            folder = common_folder([line["file"] for line in lines])
            advice = f", here '{shown(folder)}'" if folder else ""
            raise damaged_file(
                path,
                f"line {number}: file '{shown(line['file'])}' is outside the folder of the images, "
                f"'{shown(os.path.abspath(root))}': give the folder that holds all files{advice} ({option})",
            )
        found.append(name)
    return found


def common_folder(names: Sequence[str]) -> str | None:
    """The folder that holds all files; None if a path is relative, or if it is the file system's root."""
    if not all(map(os.path.isabs, names)):
        return None
    folder = os.path.commonpath([os.path.dirname(os.path.normpath(name)) for name in names])
    return None if folder == os.path.dirname(folder) else folder
