"""Labels of a CSV file: one column of class names, or one column of 0 and 1 for each class."""

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from ssl_ext.datasets.files import damaged_file

NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d+)?")
# Missing labels as written by pandas and R: rejected, because they may be names of classes.
MISSING = ("na", "n/a", "nan", "none", "null", "<na>")
UNKNOWN = ("", "-1", "-1.0")
BETWEEN = "|"
NO_FINDING = "no finding"
KEY = "config key: dataset.task"

Labels = tuple[str, ...] | None
"""Classes of an image; None: unlabelled; empty: none of several findings."""


def parse_labels(
    path: Path, lines: Sequence[dict[str, str]], columns: Sequence[str], task: str | None
) -> tuple[list[Labels], list[str], str]:
    """Return for each line its labels, the classes and the task.

    Args:
        path: The file, for error messages.
        lines: Its lines.
        columns: One column of classes, or several of 0 and 1.
        task: See ArrayDataset; None: from the labels, if they leave no choice.

    Raises:
        ValueError: the labels do not fit the task, or leave a choice of tasks; the message lists them.
    """
    if len(columns) == 1:
        return _one_column(path, [line[columns[0]] for line in lines], task)
    labels = [_findings(path, number, line, columns) for number, line in enumerate(lines, start=2)]
    single = all(found is None or len(found) == 1 for found in labels)
    if task is None and single:
        raise damaged_file(
            path,
            f"each image has exactly one of {_some(columns)}: set task='multi-class' if they exclude each "
            f"other, or task='multi-label' ({KEY})",
        )
    if task not in (None, "multi-label") and not single:
        number = next(
            row for row, found in enumerate(labels, start=2) if found is not None and len(found) != 1
        )
        raise damaged_file(path, f"line {number} has not exactly one class: set task='multi-label' ({KEY})")
    return labels, list(columns), task or "multi-label"


def _findings(path: Path, number: int, line: dict[str, str], columns: Sequence[str]) -> Labels:
    found = []
    for name in columns:
        value = line[name]
        if value in UNKNOWN:
            # A line with a missing finding is unlabelled.
            return None
        if value not in ("0", "1", "0.0", "1.0"):
            raise damaged_file(
                path, f"line {number}: {name!r} is {value!r}; allowed are 0, 1, and -1 or nothing if unknown"
            )
        if float(value):
            found.append(name)
    return tuple(found)


def _one_column(path: Path, fields: list[str], task: str | None) -> tuple[list[Labels], list[str], str]:
    several = next((row for row, label in enumerate(fields, start=2) if BETWEEN in label), None)
    if task is None and several:
        raise damaged_file(
            path,
            f"line {several}: the label {fields[several - 2]!r} may be several findings or one name: set "
            f"task='multi-label' or task='multi-class' ({KEY})",
        )
    labels: list[Labels] = []
    for field in fields:
        if task == "multi-label" and field not in UNKNOWN:
            names = [part.strip() for part in field.split(BETWEEN)]
            labels.append(tuple(dict.fromkeys(n for n in names if n and n.lower() != NO_FINDING)))
        else:
            labels.append(None if field in UNKNOWN else (field,))
    if marked := sum(field in UNKNOWN[1:] for field in fields):
        print_log(f"{path}: {marked} images with the label -1 are unlabelled", logger="current")
    classes = class_names(labels, path)
    if task == "ordinal" and (words := [name for name in classes if not NUMBER.fullmatch(name)]):
        raise damaged_file(
            path, f"task='ordinal' needs numbers as labels, which give the order, got {words[0]!r}"
        )
    return labels, classes, task or "multi-class"


def class_names(labels: Sequence[Labels], source: str | Path) -> list[str]:
    """Return the classes that occur: numbers by value, then names.

    Raises:
        ValueError: a label that marks a missing value, or one number written in two ways.
    """
    found = sorted({name for one in labels for name in one or ()}, key=_natural)
    if missing := [label for label in found if label.lower() in MISSING]:
        raise damaged_file(
            source,
            f"label {missing[0]!r} marks a missing value: leave the field empty for an unlabelled image, "
            "or give the class another name",
        )
    for one, other in pairwise(found):
        if _natural(one)[0] == _natural(other)[0] != math.inf:
            raise damaged_file(source, f"labels {one!r} and {other!r} are the same number: use one spelling")
    return found


def _natural(label: str) -> tuple[float, str]:
    """Sort key: numbers by value, then names."""
    return (float(label) if NUMBER.fullmatch(label) else math.inf), label


def label_array(labels: Sequence[Labels], classes: Sequence[str], task: str) -> np.ndarray:
    """Class index of each image (N,), or 0/1 (N, classes) for multi-label; −1 is unlabelled.

    >>> label_array([("b",), None, ("a", "b")], ["a", "b"], "multi-label").tolist()
    [[0, 1], [-1, -1], [1, 1]]
    """
    place = {name: number for number, name in enumerate(classes)}
    if task != "multi-label":
        return np.array([place[one[0]] if one else -1 for one in labels], np.int64)
    rows = np.zeros((len(labels), len(classes)), np.int64)
    for row, one in zip(rows, labels, strict=True):
        if one is None:
            row[:] = -1
        else:
            row[[place[name] for name in one]] = 1
    return rows


def warn_of_single(labels: Sequence[Labels], source: str | Path) -> None:
    """Warn of classes with one labelled image."""
    counts = Counter(name for one in labels for name in one or ())
    if single := sorted(name for name, count in counts.items() if count == 1):
        print_log(
            f"{source}: classes with one labelled image, which cannot be both learned and tested: "
            f"{_some(single)}",
            logger="current",
            level=logging.WARNING,
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
