"""Tables of papers (``configs/papers/NAME.py``): the config of each cell and its published figure.

A file defines ``AXES`` (name → values, or value → its word in ``CONFIG``), ``ROWS`` and ``COLUMNS`` (the axes
of rows and columns), ``CONFIG`` (stem of the config), ``EVALUATE`` (arguments of ``tools/evaluate.py``),
``SEEDS`` (optional: 0), ``DRAWS`` (optional: draws of labels per seed, 5), ``METRIC``, ``UNIT`` (``"%"`` or
``""``), ``SOURCE``, and ``PUBLISHED`` (optional): the figures as printed, or ``-``. ``RECIPES`` (optional)
lists the recipes (:mod:`ssl_ext.config.recipes`) that implement the publication's, and ``WHICH`` (optional)
is the epoch of its figures, ``"last"`` or ``"best"`` on validation; figures are only compared with these.
``REFERENCE`` (optional) gives, by row axis, the values of the row with which paired tests compare the others.
``SKIP`` (optional) lists, by axis, the values of cells without a config. The function ``cell`` (optional)
takes the values of a cell by axis. It returns None for a cell without a config, else further words of
``CONFIG`` and ``EVALUATE`` and any of

- ``options``: overrides of the config;
- ``evaluate``: replaces ``EVALUATE``;
- ``pretrain``: False for random weights; or the stem of another config, or a file of weights, evaluated
  instead of the config's own pretraining;
- ``init``: stem of the config whose weights initialise the pretraining.

Three values of ``protocols`` in ``EVALUATE`` are no evaluations but figures of the training:
``classification`` (accuracies of a classifier), ``detection`` (of the detector ``config``, a stem, with
overrides ``options``; all seeds start from the pretraining of ``pretrain_seed``, if it is given) and
``log`` (a curve: ``METRIC`` is a key of the training's log, read after ``epoch``; or ``epoch_seconds``, the
time of that epoch).
"""

from __future__ import annotations

import itertools
import os
import runpy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ssl_ext.errors import UserError, did_you_mean
from ssl_ext.files import file_fault
from ssl_ext.names import RECIPES

from .locate import FOLDER, config_file


@dataclass(frozen=True)
class Cell:
    """One cell of a table; ``config`` is None for a skipped cell.

    ``published`` is the figure, ``printed`` its text, ``-`` for a cell without one.
    """

    at: Mapping[str, Any]
    published: float | None
    metric: str
    config: str | None = None
    options: Sequence[str] = ()
    evaluate: Mapping[str, Any] | None = None
    pretrain: bool | str = True
    init: str | None = None
    printed: str = "-"


@dataclass(frozen=True)
class Table:
    """Cells of a table, row by row, with their ``unit``, publication (``source``) and ``recipes``.

    ``rows`` and ``columns`` are the names of the axes of rows and columns, outermost first. ``reference`` has
    the values of the row axes of the row that paired tests compare with, or is None. Every cell is measured
    with each of ``seeds``, and with ``draws`` draws of labels. ``folder`` is that of the file, near which
    configs are searched for. ``which`` is the epoch of the published figures, None if it is not known.
    """

    source: str
    unit: str
    cells: Sequence[Cell]
    recipes: Sequence[str] = ()
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    reference: Mapping[str, Any] | None = None
    seeds: Sequence[int] = (0,)
    draws: int = 5
    folder: Path = Path()
    which: str | None = None


def find_tables(place: str | os.PathLike) -> list[Path]:
    """Return the table file ``place``, or all table files of the folder ``place``, sorted by name.

    Raises:
        UserError: The path does not exist, or has no Python file.
    """
    place = Path(place)
    if not place.exists():
        stems = [path.stem for path in (FOLDER / "papers").glob("*.py")]
        raise UserError(f"'{place}' does not exist{did_you_mean(str(place), stems) or '.'}")
    found = sorted(place.glob("*.py")) if place.is_dir() else [place]
    if not found or any(path.suffix != ".py" or file_fault(path) for path in found):
        raise UserError(f"'{place}' is not a Python file of published figures like those in configs/papers.")
    return found


def find_table(name: str) -> Path:
    """Return the file of a table: a path, or the stem of a table in ``configs/papers``.

    Raises:
        UserError: There is no such file.
    """
    if Path(name).is_dir():
        raise UserError(f"'{name}' is a folder: give the file of one table.")
    shipped = FOLDER / "papers" / f"{name}.py"
    return find_tables(shipped if not Path(name).exists() and shipped.exists() else name)[0]


def read_table(path: str | os.PathLike) -> Table:
    """Run a table file and lay out its cells.

    Raises:
        UserError: The file cannot be run, lacks a name, or its figures do not fill the rows and columns.
    """
    try:
        content = runpy.run_path(str(path))
        recipes = content.get("RECIPES", ())
        if wrong := [name for name in recipes if name not in RECIPES]:
            raise ValueError(f"RECIPES: {wrong[0]!r} is unknown; allowed are {', '.join(RECIPES)}")
        if (which := content.get("WHICH")) not in (None, "last", "best"):
            raise ValueError(f"WHICH is {which!r}; allowed are last, best")
        cells, reference = list(_cells(content)), content.get("REFERENCE")
        if reference and not any(reference.items() <= cell.at.items() for cell in cells):
            raise ValueError(f"REFERENCE: no row is {reference}")
        sides = content["ROWS"], content["COLUMNS"]
        repeats = list(content.get("SEEDS", (0,))), content.get("DRAWS", 5)
        place = Path(path).resolve().parent, which
        return Table(content["SOURCE"], content["UNIT"], cells, recipes, *sides, reference, *repeats, *place)
    except KeyError as error:
        raise UserError(f"'{path}' is not a table of a paper: {error} is missing.") from error
    except Exception as error:
        # The file is Python and can raise any exception.
        raise UserError(f"'{path}' is not a table of a paper ({type(error).__name__}: {error}).") from error


def find_config(name: str, folder: Path) -> Path:
    """Return the file of a config that a table in ``folder`` names.

    ``name`` is a stem, searched for in ``folder``, in the folders beside it, and in the package; or a path,
    relative to ``folder`` or to the current folder.

    Raises:
        UserError: There is no such file.
    """
    if name.endswith(".py"):
        found = [path for path in (folder / name, Path(name)) if path.is_file()]
        if not found:
            config_file(name)
        # A removed or packaged config is read by the name that it was given.
        return found[0].resolve() if found else Path(name)
    for place in (folder, *(beside for beside in sorted(folder.parent.glob("*/")) if beside != folder)):
        if (path := place / f"{name}.py").is_file():
            return path
    if name not in (shipped := _shipped()):
        raise UserError(f"A table names the config {name}.py, which is neither near '{folder}' nor shipped.")
    return shipped[name]


@cache
def _shipped() -> dict[str, Path]:
    """The configs of the package by stem, and its data sets, which transfer uses."""
    files = sorted(FOLDER.resolve().rglob("*.py"))
    return {path.stem: path for path in files if path.parts[-3] != "_base_" or path.parts[-2] == "datasets"}


def _cells(content: Mapping[str, Any]) -> Iterator[Cell]:
    axes, names = content["AXES"], [*content["ROWS"], *content["COLUMNS"]]
    if sorted(names) != sorted(axes):
        raise ValueError(f"ROWS and COLUMNS must name each of {sorted(axes)} once")
    rows, columns = (
        list(itertools.product(*(axes[axis] for axis in content[side]))) for side in ("ROWS", "COLUMNS")
    )
    blank = "\n".join(["- " * len(columns)] * len(rows))
    figures = [line.split() for line in content.get("PUBLISHED", blank).strip().splitlines()]
    if len(figures) != len(rows) or any(len(line) != len(columns) for line in figures):
        raise ValueError(f"PUBLISHED must have {len(rows)} lines of {len(columns)} figures")
    for row, line in zip(rows, figures, strict=True):
        for column, figure in zip(columns, line, strict=True):
            at = dict(zip(names, row + column, strict=True))
            yield _cell(content, at, figure)


def _cell(content: Mapping[str, Any], at: Mapping[str, Any], printed: str) -> Cell:
    axes = content["AXES"].items()
    words = {axis: words[at[axis]] if isinstance(words, dict) else at[axis] for axis, words in axes}
    metric = content["METRIC"].format(**words)
    own = None if _skipped(content.get("SKIP", ()), at) else content.get("cell", _nothing)(**at)
    published = None if printed == "-" else float(printed)
    if own is None:
        return Cell(at, published, metric, printed=printed)
    words.update(own)
    evaluate = own.get("evaluate") or {
        name: value.format(**words) if isinstance(value, str) else value
        for name, value in content["EVALUATE"].items()
    }
    known = {name: own[name] for name in ("options", "pretrain", "init") if name in own}
    config = content["CONFIG"].format(**words)
    return Cell(at, published, metric, config, evaluate=evaluate, printed=printed, **known)


def _skipped(rules: Sequence[Mapping[str, Any]], at: Mapping[str, Any]) -> bool:
    return any(
        all(at[axis] in (v if isinstance(v, list) else [v]) for axis, v in rule.items()) for rule in rules
    )


def _nothing(**at: Any) -> dict[str, Any]:
    return {}
