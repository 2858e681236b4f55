"""Result rows: what was measured, on what, how, and what it cost; a JSON file and a table."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from ssl_ext.env import peak_resident_bytes
from ssl_ext.files import replacing


@dataclass
class ResultRow:
    """One measurement. Metrics are in [0, 1]: ``acc`` (top-1) and macro ``auc``.

    ``last`` belongs to the last epoch or step, ``best`` to the choice made on validation data;
    ``labels_per_class`` and ``draw`` are None where all labels were used.
    """

    method: str
    protocol: str
    last: dict[str, float]
    best: dict[str, float]
    settings: dict[str, Any]
    sizes: dict[str, int]
    seed: int
    labels_per_class: int | None = None
    draw: int | None = None
    cost: dict[str, float] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)


@contextmanager
def measure_cost() -> Iterator[dict[str, float]]:
    """Fill a dict with ``wall_s``, ``peak_rss_mib`` and, with CUDA, ``peak_device_mib``.

    The resident peak is that of the process so far; the device peak that of the block.
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
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def write_results(path: str | os.PathLike, rows: Sequence[ResultRow]) -> None:
    """Write the rows as a JSON list, atomically; values that are not finite become null."""
    text = json.dumps([_plain(asdict(row)) for row in rows], indent=2, allow_nan=False)
    with replacing(Path(path)) as file:
        file.write(text.encode())


Cell = tuple[str, int | None]


def aggregate(
    rows: Sequence[ResultRow], *, metric: str = "acc", which: str = "last"
) -> dict[str, dict[Cell, tuple[float, float, int]]]:
    """Mean, sample std (0 for one draw) and number of draws, by method and (protocol, labels).

    ``which`` is ``'last'`` or ``'best'``. Methods and columns keep the order of the rows.
    """
    values: dict[str, dict[Cell, list[float]]] = {}
    for row in rows:
        cell = (row.protocol, row.labels_per_class)
        values.setdefault(row.method, {}).setdefault(cell, []).append(getattr(row, which)[metric])
    return {
        method: {
            cell: (statistics.fmean(v), statistics.stdev(v) if len(v) > 1 else 0.0, len(v))
            for cell, v in cells.items()
        }
        for method, cells in values.items()
    }


def results_table(rows: Sequence[ResultRow], *, which: str = "last") -> Table:
    """A table of method × protocol: accuracy in percent / AUC, mean ± std where labels were drawn.

    The supervised baseline stands in the columns of the linear probe with the same labels.
    """
    shown = {metric: _by_column(aggregate(rows, metric=metric, which=which)) for metric in ("acc", "auc")}
    columns: list[Cell] = []
    for cells in shown["acc"].values():
        columns += [cell for cell in cells if cell not in columns]
    table = Table("method", title=f"accuracy % / AUC, {which} epoch")
    for protocol, labels in columns:
        label = "" if protocol == "knn" else ", all labels" if labels is None else f", {labels} labels/class"
        table.add_column(("kNN" if protocol == "knn" else protocol) + label, justify="right")
    for method in shown["acc"]:
        acc, area = shown["acc"][method], shown["auc"][method]
        table.add_row(method, *(_cell(acc.get(c), area.get(c)) for c in columns))
    return table


def _by_column(methods: dict[str, dict[Cell, Any]]) -> dict[str, dict[Cell, Any]]:
    return {
        method: {
            ("linear" if protocol == "supervised" else protocol, labels): value
            for (protocol, labels), value in cells.items()
        }
        for method, cells in methods.items()
    }


def _cell(acc: tuple[float, float, int] | None, auc: tuple[float, float, int] | None) -> str:
    if acc is None or auc is None:
        return "-"
    area = "-" if math.isnan(auc[0]) else f"{auc[0]:.4f}"
    spread = f" ± {100 * acc[1]:.2f}" if acc[2] > 1 else ""
    return f"{100 * acc[0]:.2f}{spread} / {area}"
