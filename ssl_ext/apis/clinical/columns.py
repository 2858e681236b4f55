"""Columns of a CSV file about the reported images: site, scanner, sex, age."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_ext.datasets.table import read_table
from ssl_ext.errors import UserError, did_you_mean, user_errors
from ssl_ext.files import check_file, shown

FILE, ROW = "file", "row"
VALUES_UP_TO = 30
BANDS_FROM = 9  # different numbers; from then on they are cut at their quartiles
MISSING = "not stated"


def read_columns(
    path: str | os.PathLike, columns: Sequence[str], images: np.ndarray, dataset: Any
) -> dict[str, dict[str, np.ndarray]]:
    """Masks (N,) of the images with each value, by column; numbers are cut into bands.

    Args:
        path: CSV file with the column ``file`` (paths from its folder or that of the images) or ``row`` (row
            of the reported split, from 0).
        columns: ``NAME``, or ``NAME=EDGE,EDGE`` for the edges of the bands.
        images: Rows (N,) of the reported split.
        dataset: Returns the reported split; called if the file has the column ``file``.

    Raises:
        UserError: An unknown column, an image listed twice, or no line about the images.
    """
    with user_errors(f"--metadata {shown(path)}"):
        names, lines = read_table(check_file(path))
    wanted = {column: _parsed(column, names, path) for column in columns}
    key = next((name for name in (FILE, ROW) if name in names), None)
    if key is None:
        raise UserError(
            f"--metadata {shown(path)} needs a column {FILE} or {ROW}; there are {', '.join(names)}."
        )
    own = _files(path, dataset(), images) if key == FILE else [[str(row)] for row in images.tolist()]
    listed: dict[str, dict[str, str]] = {}
    for line in lines:
        name = os.path.normpath(line[key]) if key == FILE else line[key]
        if listed.setdefault(name, line) is not line:
            raise UserError(f"--metadata {shown(path)} lists the {key} {line[key]!r} twice.")
    found = [next((listed[name] for name in near if name in listed), {}) for near in own]
    if not any(found):
        raise UserError(
            f"--metadata {shown(path)} has no line about the {len(images)} reported images: its {key}s start "
            f"with {lines[0][key]!r}, theirs with {own[0][0]!r}."
        )
    return {
        column: _masks([line.get(name, "") for line in found], name, edges)
        for column, (name, edges) in wanted.items()
    }


def _parsed(column: str, names: Sequence[str], path: str | os.PathLike) -> tuple[str, list[float] | None]:
    """Name of a column and the stated edges of its bands."""
    if column in names:
        return column, None
    name, mark, text = column.rpartition("=")
    if not mark or name not in names:
        name = name or column
        near = did_you_mean(name, names)
        raise UserError(
            f"--by {column}: {shown(path)} has no column {name!r}{near}; there are {', '.join(names)}."
        )
    try:
        edges = [float(word) for word in text.split(",")]
    except ValueError:
        edges = []
    if not edges or not all(map(math.isfinite, edges)) or edges != sorted(set(edges)):
        raise UserError(f"--by {column}: the edges are rising numbers with commas, such as {name}=40,60,80.")
    return name, edges


def _files(path: str | os.PathLike, dataset: Any, images: np.ndarray) -> list[list[str]]:
    """Names by which a CSV file may list each image: from the images' folder, from its own, absolute."""
    files = getattr(dataset, "files", None)
    if files is None:
        raise UserError(
            f"--metadata {shown(path)} has the column {FILE}, but the images are rows of arrays: give a "
            f"column {ROW} with their numbers in the reported split, from 0."
        )
    places = [os.path.abspath(os.fspath(files.name(row))) for row in images.tolist()]
    bases = [os.path.abspath(getattr(dataset, "data_root", "") or "."), os.path.abspath(Path(path).parent)]
    return [[*(os.path.relpath(place, base) for base in bases), place] for place in places]


def _masks(values: Sequence[str], name: str, edges: list[float] | None) -> dict[str, np.ndarray]:
    """Mask of the images of each value, or band of values; those without a value come last."""
    numbers = np.array([_number(value) for value in values])
    stated = np.array([bool(value) for value in values])
    numeric = bool(stated.any()) and bool(np.isfinite(numbers[stated]).all())
    if edges and not numeric:
        odd = next(
            (value for value, number in zip(values, numbers, strict=True) if value and number != number), ""
        )
        raise UserError(f"--by {name}: bands need numbers, but it has {odd!r}.")
    if numeric and (edges or len(set(numbers[stated].tolist())) >= BANDS_FROM):
        cuts = edges or sorted(set(np.quantile(numbers[stated], (0.25, 0.5, 0.75)).tolist()))
        band = np.digitize(numbers, cuts)
        found = {text: stated & (band == place) for place, text in enumerate(_bands(cuts))}
        found = {text: mask for text, mask in found.items() if mask.any()}
    else:
        texts = np.array(values, dtype=object)
        different = sorted(set(texts[stated].tolist()))
        if len(different) > VALUES_UP_TO:
            raise UserError(
                f"--by {name}: {len(different)} different values, such as {different[0]!r}; up to "
                f"{VALUES_UP_TO} are allowed, or numbers."
            )
        found = {text: texts == text for text in different}
    return found if stated.all() else {**found, MISSING: ~stated}


def _bands(cuts: Sequence[float]) -> list[str]:
    """Names of the bands between edges.

    >>> _bands([40, 60])
    ['below 40', '40 to below 60', '60 and above']
    """
    inner = [f"{low:g} to below {high:g}" for low, high in zip(cuts, cuts[1:], strict=False)]
    return [f"below {cuts[0]:g}", *inner, f"{cuts[-1]:g} and above"]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
