"""Result rows with metrics, settings, data and cost, and their JSON file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch

from ssl_ext.env import peak_resident_bytes
from ssl_ext.errors import UserError
from ssl_ext.files import shown, write_text
from ssl_ext.json_files import OTHERS, read_json

# The entries that other parts of the library read, as :func:`ssl_ext.json_files.read_json` checks them.
METRIC_TYPES = {
    "confusion": list[list[int]],
    "multilabel_confusion": list[list[list[int]]],
    OTHERS: float | None,
}
OBJECT = dict[str, Any] | None
SETTINGS = {"chosen_on_validation": OBJECT, "labels": OBJECT}
SOURCE = {
    "checkpoint": ({"path": str, "sha256": str}, None),
    "pretraining": ({"initial_weights": OBJECT}, None),
    "network": OBJECT,
    "dataset": OBJECT,
    "data": dict[str, dict[str, Any]] | None,
    "classes": list[str] | None,
    "config": str | None,
    "versions": OBJECT,
    "majority": ({OTHERS: float}, None),
}
ENDS = {OTHERS: list[float]}
INTERVALS = {"last": ENDS, "best": ENDS, "over": str, "units": int}

FALL = 0.01
"""A probe is converged if its training loss falls by no more than this share in its last epoch."""
WHAT = "a results.json of tools/evaluate.py"
UNTRAINED = ("knn", "cluster", "quality")
"""Protocols without training, which the recipes of papers do not change."""
CLASSIFICATION = "classification"
"""Protocol of a model that is itself a classifier: its recipe is the config of its training."""
OWN, UNRECORDED = "own", "not recorded"
"""Names of this project's recipe, and of the recipe of rows written by older versions."""


@dataclass
class ResultRow:
    """One measurement, with the metrics of :func:`ssl_ext.evaluation.metrics.evaluate_scores`.

    ``last`` holds the metrics after the last epoch or step, ``best`` those selected on validation data.
    None if not applicable: ``labels_per_class`` (labels of each class), ``budget`` (labels drawn at
    random), ``fraction`` (share of each class), ``draw`` (index of the label draw), ``mode``
    (``'frozen'`` or ``'unfrozen'`` backbone), ``target`` (data set of a transfer) and ``by`` (``'group'`` if
    groups are counted and drawn instead of labels). ``intervals`` holds 95 % bootstrap intervals of the
    metrics over the reported images or groups, ``predictions`` the path of the per-image scores, relative
    to the result file, and ``saved`` that of the trained network, if it was kept. ``recipe`` is ``'own'``,
    ``'custom'`` (set in the config), the name of a paper's recipe, or ``'not recorded'``. ``curves`` holds
    training and validation figures of a trained network at its checks (:data:`.finetune.CURVES`).
    ``balance`` says how unequal classes were trained on (:class:`.balance.Balance`).
    """

    method: str
    protocol: str
    last: Annotated[dict[str, Any], METRIC_TYPES]
    best: Annotated[dict[str, Any], METRIC_TYPES]
    settings: Annotated[dict[str, Any], SETTINGS]
    sizes: dict[str, int]
    seed: int
    labels_per_class: int | None = None
    draw: int | None = None
    cost: dict[str, float] = field(default_factory=dict)
    source: Annotated[dict[str, Any], SOURCE] = field(default_factory=dict)
    budget: int | None = None
    fraction: float | None = None
    mode: str | None = None
    target: str | None = None
    by: str | None = None
    intervals: Annotated[dict[str, Any], INTERVALS] = field(default_factory=dict)
    predictions: str | None = None
    recipe: str = OWN
    curves: Annotated[dict[str, Any], ENDS] = field(default_factory=dict)
    saved: str | None = None
    balance: str | None = None


def unconverged(row: ResultRow) -> float | None:
    """Share by which a probe's training loss fell in its last epoch, if that is more than 1 %; else None."""
    fall = row.settings.get("last_epoch_fall")
    return fall if isinstance(fall, float) and fall > FALL else None


def cautions(row: ResultRow) -> list[str]:
    """Sentences about a probe that has not converged, and about a classifier that knows only one class."""
    found = []
    if (fall := unconverged(row)) is not None:
        fell = f"the training loss still fell by {100 * fall:.1f} % in the last epoch"
        found.append(f"{fell}; the probe is not converged.")
    for epoch in ("last", "best"):
        table = np.array(getattr(row, epoch).get("confusion") or [[0]])
        given = np.flatnonzero(table.sum(0))
        if len(given) == 1 and np.count_nonzero(table.sum(1)) > 1:
            name = (row.source.get("classes") or {given[0]: f"class {given[0]}"})[given[0]]
            found.append(f"all {table.sum():,} test images are classified as {name!r} ({epoch} epoch).")
    return found


@contextmanager
def measure_cost() -> Iterator[dict[str, float]]:
    """Fill a dict with ``wall_s`` (s), ``peak_rss_mib`` and, with CUDA, ``peak_device_mib`` (MiB).

    The resident peak is that of the process since its start, the device peak that of the block.
    """
    cost: dict[str, float] = {}
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    yield cost
    cost["wall_s"] = round(time.perf_counter() - start, 3)
    cost["peak_rss_mib"] = round(peak_resident_bytes() / 2**20, 1)
    if cuda:
        cost["peak_device_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)


def file_hash(path: str | os.PathLike) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def text_hash(text: str) -> str:
    """First 16 hexadecimal digits of a text's SHA-256.

    >>> text_hash("")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Convert ``value`` to JSON types; NaN and infinities become None, other objects strings."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def write_results(path: str | os.PathLike, rows: Sequence[ResultRow]) -> None:
    """Write the rows as a JSON list, atomically; values that are not finite become null."""
    write_text(path, json.dumps([_plain(vars(row)) for row in rows], indent=2, allow_nan=False))


def read_results(path: str | os.PathLike) -> list[ResultRow]:
    """Read the rows of a ``results.json`` of this or an older version.

    Missing optional fields get their defaults, unknown fields are ignored, and null metrics become NaN.

    Raises:
        UserError: The file is missing or damaged, or is not a result file.
    """
    rows = read_json(path, list[ResultRow], WHAT)
    items = read_json(path, list[dict[str, Any]], WHAT)
    for number, (row, item) in enumerate(zip(rows, items, strict=True), start=1):
        if "recipe" not in item and row.protocol not in UNTRAINED:
            row.recipe = UNRECORDED
        for metrics in (row.last, row.best):
            matrix = metrics.get("confusion", [])
            if any(len(counts) != len(matrix) for counts in matrix):
                raise UserError(f"'{shown(path)}': the confusion matrix of row {number} is not square.")
            if any([len(own) for own in one] != [2, 2] for one in metrics.get("multilabel_confusion", [])):
                raise UserError(f"'{shown(path)}': a label's confusion matrix of row {number} is not 2 × 2.")
            metrics.update({key: math.nan for key, value in metrics.items() if value is None})
    return rows
