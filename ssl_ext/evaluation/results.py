"""Result rows with metrics, settings, data and cost, and their JSON file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ssl_ext.env import peak_resident_bytes
from ssl_ext.errors import UserError
from ssl_ext.files import replacing

FALL = 0.01
"""A probe is converged if its training loss falls by no more than this share in its last epoch."""
OWN, UNRECORDED = "own", "not recorded"
"""Recipe of this project, and of rows of older versions."""


@dataclass
class ResultRow:
    """One measurement, with the metrics of :func:`ssl_ext.evaluation.metrics.evaluate_scores`.

    ``last`` holds the metrics after the last epoch or step, ``best`` those selected on validation data.
    None if not applicable: ``labels_per_class`` (labels of each class), ``budget`` (labels drawn at
    random), ``fraction`` (share of each class), ``draw`` (index of the label draw), ``mode``
    (``'frozen'`` or ``'unfrozen'`` backbone) and ``target`` (data set of a transfer). ``recipe`` is
    ``'own'``, ``'custom'`` (set in the config), the name of a paper's recipe, or ``'not recorded'``.
    """

    method: str
    protocol: str
    last: dict[str, Any]
    best: dict[str, Any]
    settings: dict[str, Any]
    sizes: dict[str, int]
    seed: int
    labels_per_class: int | None = None
    draw: int | None = None
    cost: dict[str, float] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    budget: int | None = None
    fraction: float | None = None
    mode: str | None = None
    target: str | None = None
    recipe: str = OWN


def unconverged(row: ResultRow) -> float | None:
    """Share by which a probe's training loss fell in its last epoch, if that is more than 1 %; else None."""
    fall = row.settings.get("last_epoch_fall")
    return fall if isinstance(fall, float) and fall > FALL else None


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
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    text = json.dumps([_plain(asdict(row)) for row in rows], indent=2, allow_nan=False)
    with replacing(Path(path)) as file:
        file.write(text.encode())


def read_results(path: str | os.PathLike) -> list[ResultRow]:
    """Read the rows of a ``results.json`` of this or an older version.

    Missing optional fields get their defaults, unknown fields are ignored, and null metrics become NaN.

    Raises:
        UserError: The file is missing, damaged, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, list):
            raise ValueError("a list of rows is needed")
        return [_row(item, number) for number, item in enumerate(content, start=1)]
    except FileNotFoundError as error:
        raise UserError(f"'{path}' does not exist.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is not a results.json of tools/evaluate.py ({error}).") from error


def _row(item: Any, number: int) -> ResultRow:
    """Build a row from its JSON object; raise ValueError if a required field is missing or invalid."""
    known = {entry.name: entry for entry in fields(ResultRow)}
    values = {key: value for key, value in item.items() if key in known} if isinstance(item, dict) else {}
    needed = [name for name, e in known.items() if e.default is MISSING and e.default_factory is MISSING]
    if values.get("protocol") not in ("knn", "cluster"):
        values.setdefault("recipe", UNRECORDED)
    if lacking := [name for name in needed if name not in values]:
        raise ValueError(f"row {number} lacks {', '.join(lacking)}")
    for name in ("last", "best", "settings", "sizes", "cost", "source"):
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(f"{name} of row {number} is no object")
    for name in ("last", "best"):
        values[name] = {key: math.nan if v is None else v for key, v in values[name].items()}
    return ResultRow(**values)
