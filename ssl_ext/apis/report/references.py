"""Published figures that reports show in brackets after measured ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from ssl_ext.errors import UserError
from ssl_ext.evaluation import METRICS, Condition, ResultRow
from ssl_ext.evaluation.tables import MODES

from .comparison import data_name


def labels_name(condition: Condition) -> str:
    """Name of a number of labels in headings and reference files.

    >>> labels_name(Condition("budget", budget=100)), labels_name(Condition("linear", labels_per_class=10))
    ('100', '10/class')
    >>> labels_name(Condition("semi", fraction=0.01)), labels_name(Condition("supervised"))
    ('1 %', 'all')
    """
    if condition.budget is not None:
        return str(condition.budget)
    if condition.labels_per_class is not None:
        return f"{condition.labels_per_class}/class"
    return "all" if condition.fraction in (None, 1) else f"{100 * condition.fraction:g} %"


def mode_of(condition: Condition) -> str:
    """``'frozen'`` or ``'unfrozen'``: the mode of the backbone."""
    return condition.mode or MODES[condition.protocol]


@dataclass(frozen=True)
class Reference:
    """Published figures of one method on one data set.

    A row must have this ``method`` and ``mode``; ``config`` and ``checkpoint`` are patterns (``*``
    for anything) of the name of its config file, without suffix, and of its checkpoint's path.
    ``figures`` gives for a metric and a number of labels (:func:`labels_name`) the value as this
    project stores it: accuracies in [0, 1].
    """

    data: str
    method: str
    mode: str
    figures: Mapping[str, Mapping[str, float]]
    config: str = "*"
    checkpoint: str = "*"

    def describes(self, row: ResultRow) -> bool:
        """True if the row measures the same method, data set and mode."""
        condition = Condition.from_row(row)
        config = Path(str(row.source.get("config") or "")).stem
        checkpoint = str((row.source.get("checkpoint") or {}).get("path", ""))
        return (
            (self.data, self.method, self.mode) == (data_name(row), row.method, mode_of(condition))
            and fnmatchcase(config, self.config)
            and fnmatchcase(checkpoint, self.checkpoint)
        )


@dataclass(frozen=True)
class References:
    """References in the order in which they are tried, and their source."""

    source: str = ""
    entries: Sequence[Reference] = field(default=())

    def figure(self, row: ResultRow, metric: str) -> float | None:
        """The figure of the first reference that describes a row."""
        for entry in self.entries:
            if entry.describes(row):
                return entry.figures.get(metric, {}).get(labels_name(Condition.from_row(row)))
        return None


def read_references(path: str | os.PathLike) -> References:
    """References of a YAML file: ``source``, and ``entries`` with the fields of :class:`Reference`.

    Raises:
        UserError: The file is missing, is not such a YAML file, or holds a figure that is not a number.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return References(str(content["source"]), [_entry(item) for item in content["entries"]])
    except FileNotFoundError as error:
        raise UserError(f"'{path}' does not exist.") from error
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise UserError(f"'{path}' is no file of references ({type(error).__name__}: {error}).") from error


def _entry(item: Mapping[str, Any]) -> Reference:
    figures = {
        metric: {str(labels): float(value) for labels, value in values.items()}
        for metric, values in item["figures"].items()
    }
    if unknown := [metric for metric in figures if metric not in METRICS]:
        raise ValueError(f"metric {unknown[0]!r} is unknown; allowed are {', '.join(METRICS)}")
    return Reference(**{**item, "figures": figures})
