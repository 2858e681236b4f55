"""Published figures that reports show in brackets after measured ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from ssl_ext.config.papers import Cell, find_tables, read_table
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import METRICS, Condition, ResultRow
from ssl_ext.evaluation.conditions import MODES

from .comparison import data_name

# Protocols that train on labels of the data set.
PROTOCOLS = ("budget", "linear", "finetune", "semi", "supervised")
# The fields of a reference that identify the measurement.
Network: TypeAlias = tuple[str, str, str, str, str]


def labels_name(condition: Condition) -> str:
    """The heading of a number of labels.

    >>> labels_name(Condition("budget", budget=100)), labels_name(Condition("linear", labels_per_class=10))
    ('100', '10/class')
    >>> labels_name(Condition("semi", fraction=0.01)), labels_name(Condition("supervised"))
    ('1 %', 'all')
    """
    unit = "" if condition.by is None else f" {condition.by}s"
    if condition.budget is not None:
        return f"{condition.budget}{unit}"
    if condition.labels_per_class is not None:
        return f"{condition.labels_per_class}{unit}/class"
    return "all" if condition.fraction in (None, 1) else f"{100 * condition.fraction:g} %{unit}"


def mode_of(condition: Condition) -> str:
    """``'frozen'`` or ``'unfrozen'``: the backbone."""
    return condition.mode or MODES[condition.protocol]


@dataclass(frozen=True)
class Reference:
    """Published figures of one network on one data set, and the table of each.

    The keys of ``figures`` are metric and number of labels (:func:`labels_name`), its values accuracies in
    [0, 1]. ``method`` is ``'supervised'``, ``'untrained'``, or ``''`` for a pretrained network; ``config``
    and ``checkpoint`` are patterns of the config's stem and of the checkpoint's path.
    """

    data: str
    method: str
    mode: str
    config: str
    checkpoint: str
    figures: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def describes(self, row: ResultRow) -> bool:
        """True if the figures are for the network and the data of a row."""
        path = (row.source.get("checkpoint") or {}).get("path")
        if row.method != self.method if self.method else path is None:
            return False
        return (
            (self.data, self.mode) == (_plain(data_name(row)), mode_of(Condition.from_row(row)))
            and fnmatchcase(Path(str(row.source.get("config") or "")).stem, self.config)
            and fnmatchcase(str(path or ""), self.checkpoint)
        )


@dataclass(frozen=True)
class References:
    """References in the order in which they are tried."""

    entries: Sequence[Reference] = ()

    def figure(self, row: ResultRow, metric: str) -> tuple[float, str] | None:
        """The figure of the first reference that describes a row, and its source."""
        for entry in self.entries:
            if entry.describes(row):
                return entry.figures.get((metric, labels_name(Condition.from_row(row))))
        return None


def read_references(place: str | os.PathLike) -> References:
    """References from a table of a paper, or from all tables in a folder (:mod:`ssl_ext.config.papers`).

    Networks pretrained on other data come before those with a config's own pretraining.

    Raises:
        UserError: The path does not exist, a file is not a table, or its metric is unknown.
    """
    found: dict[Network, Reference] = {}
    for path in find_tables(place):
        table = read_table(path)
        scale = 100 if table.unit == "%" else 1
        for cell in table.cells:
            with user_errors(f"'{path}', a cell's evaluate"):
                condition = _condition(cell)
            if cell.published is None or condition is None:
                continue
            if cell.metric not in METRICS:
                raise UserError(
                    f"'{path}': metric '{cell.metric}' is unknown; allowed are {', '.join(METRICS)}."
                )
            key = _network(cell, condition)
            figures = found.setdefault(key, Reference(*key)).figures
            figures.setdefault((cell.metric, labels_name(condition)), (cell.published / scale, table.source))
    return References(sorted(found.values(), key=lambda entry: -len(entry.checkpoint)))


def _condition(cell: Cell) -> Condition | None:
    """The condition of a cell; None if it cannot be identified from result rows."""
    request: Mapping[str, str] = {name: str(value) for name, value in (cell.evaluate or {}).items()}
    protocol = request.get("protocols", "linear" if request.get("modes") == "frozen" else "finetune")
    # Rows do not record overrides.
    if cell.config is None or cell.options or protocol not in PROTOCOLS:
        return None
    budget, fraction, each = (request.get(name) for name in ("budgets", "fractions", "labels_per_class"))
    return Condition(
        protocol,
        labels_per_class=int(each) if each else None,
        budget=int(budget) if budget and budget != "all" else None,
        fraction=float(fraction) if fraction else None,
        mode=request.get("modes"),
    )


def _network(cell: Cell, condition: Condition) -> Network:
    """Fields of the reference that a cell belongs to."""
    config = str(cell.config)
    data, mode = config.rpartition("_")[2], mode_of(condition)
    if condition.protocol == "supervised":
        return _plain(data), "supervised", mode, "*", "*"
    checkpoint = "*"
    if cell.init:
        checkpoint = f"*{cell.init.rpartition('_')[2]}-*{data}*"
    elif isinstance(cell.pretrain, str):
        checkpoint = f"*{cell.pretrain.rpartition('_')[2]}*"
    return _plain(data), "" if cell.pretrain else "untrained", mode, config, checkpoint


def _plain(name: str) -> str:
    return name.lower().replace("-", "")
