"""Identity of result rows: same measurement, repeat, or different measurement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .results import ResultRow, unconverged

# Settings that may differ between comparable rows: repeats, results and file locations.
REPEATS = (
    *("seed", "seed_matters", "chosen_on_validation", "k_used", "labels", "precision_error"),
    "last_epoch_fall",
    "class_weights",
)
PLACES = ("type", "name", "data_root", "download", "split")
GENERIC = ("NPZDataset", "FolderDataset", "ImageFiles", "PackedDataset")
CONDITION = (
    "protocol",
    "labels_per_class",
    "budget",
    "fraction",
    "mode",
    "target",
    "by",
    "recipe",
    "balance",
)
LABELS = CONDITION[1:4]
FROZEN = ("knn", "cluster", "quality", "linear", "linear-aug")


def data_name(row: ResultRow) -> str:
    """Name of a row's data set: the target of a transfer, or :func:`dataset_name`."""
    return row.target if row.target is not None else dataset_name(row.source.get("dataset") or {})


def dataset_name(settings: Mapping[str, Any]) -> str:
    """Name of the data set of a config: its ``name``, its class, or its file."""
    kind = str(settings.get("type", "unknown data"))
    if "name" in settings:
        return str(settings["name"])
    return Path(str(settings.get("data_root", ""))).stem or kind if kind in GENERIC else kind


def comparable_settings(row: ResultRow) -> dict[str, str]:
    """The settings of a row as flat text; rows with equal settings can be compared.

    A value selected on validation data is replaced by its candidates.
    """
    chosen = row.settings.get("chosen_on_validation") or {}
    settings: dict[str, Any] = {}
    for name, value in row.settings.items():
        if name in REPEATS:
            continue
        if name in chosen:
            rates = chosen.get("validation_accuracy")
            candidates = list(rates) if isinstance(rates, dict) else []
            value = f"chosen from {', '.join(map(str, candidates))}" if len(candidates) > 1 else value
        settings[name] = value
    if short := (row.settings.get("labels") or {}).get("short_classes"):
        settings["classes with fewer labels"] = short
    data = row.source.get("dataset") or {}
    settings |= {f"data {name}": value for name, value in data.items() if name not in PLACES}
    parts = [part for part in ("train", "val", "test") if part in row.sizes]
    if any(getattr(row, name) is not None for name in LABELS):
        parts = [part for part in parts if part != "train"]  # a draw of several labels varies
    if "group" in str(row.settings.get("val_split")):
        parts = [part for part in parts if part == "test"]  # the groups that a seed holds out differ in size
    settings |= {f"{part} images": row.sizes[part] for part in parts}
    content = row.source.get("data") or {}
    settings |= {f"{part} content": about.get("fingerprint") for part, about in content.items()}
    return {name: _text(value) for name, value in settings.items()}


def network_settings(row: ResultRow) -> dict[str, str]:
    """Architecture, pretraining data and length of a row's network as flat text.

    >>> row = ResultRow("SimCLR", "knn", {}, {}, {}, {}, 0, source={"network": {"backbone": {"depth": 18}}})
    >>> network_settings(row)
    {'backbone.depth': '18'}
    """
    trained = row.source.get("pretraining") or {}
    start = trained.get("initial_weights") or {}
    known = {
        "pretraining.datasets": _portable(trained.get("datasets")),
        "pretraining.iter": trained.get("iter"),
        "pretraining.start": _portable(start.get("datasets")) or start.get("sha256"),
        "weights": (row.source.get("checkpoint") or {}).get("weights"),
        "partly loaded": (row.source.get("checkpoint") or {}).get("partial"),
    }
    found = dict(flat(row.source.get("network") or {}))
    return found | {key: _text(value) for key, value in known.items() if value}


def _portable(value: Any) -> Any:
    """Copy a data set's config without machine-dependent settings; paths keep only their last part."""
    if isinstance(value, dict):
        kept = {key: _portable(item) for key, item in value.items() if key not in ("download", "device")}
        return kept | ({"data_root": Path(str(kept["data_root"])).name} if "data_root" in kept else {})
    return [_portable(item) for item in value] if isinstance(value, (list, tuple)) else value


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Keys with dots and values as text of nested settings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def pretraining_seed(row: ResultRow) -> int | None:
    """Return the pretraining seed recorded in the row's checkpoint, or None."""
    return (row.source.get("pretraining") or {}).get("seed")


def pretraining_run(row: ResultRow) -> str | None:
    """Identify the pretraining of a row: its seed, or else the checkpoint's hash."""
    seed = pretraining_seed(row)
    checkpoint = row.source.get("checkpoint") or {}
    return f"seed {seed}" if seed is not None else checkpoint.get("sha256")


def repeat_key(row: ResultRow) -> tuple[str | None, int | None, int | None]:
    """Return pretraining, seed and draw; rows with equal keys are not independent repeats.

    A seed without effect (``settings.seed_matters`` is False) is None.
    """
    seed = row.seed if row.settings.get("seed_matters", True) else None
    return pretraining_run(row), seed, row.draw


def shared_repeats(
    first: Iterable[ResultRow], second: Iterable[ResultRow]
) -> list[tuple[ResultRow, ResultRow]]:
    """Pair rows with equal evaluation seed and draw; one pair if the seed has no effect."""
    others = {(row.seed, row.draw): row for row in second}
    pairs: dict[tuple, tuple[ResultRow, ResultRow]] = {}
    for row in first:
        other = others.get((row.seed, row.draw))
        if other is not None:
            pairs.setdefault((repeat_key(row)[1:], repeat_key(other)[1:]), (row, other))
    return list(pairs.values())


def measurement_key(row: ResultRow) -> str:
    """Key of a measurement; a new row replaces the row with the same key in a result file."""
    condition = [getattr(row, name) for name in CONDITION]
    checkpoint = (row.source.get("checkpoint") or {}).get("sha256")
    content = [row.method, *condition, row.seed, row.draw, checkpoint, data_name(row)]
    return _text([*content, network_settings(row), comparable_settings(row)])


def group_key(row: ResultRow) -> str:
    """Key shared by all repeats of a measurement with one checkpoint."""
    condition = [getattr(row, name) for name in CONDITION]
    checkpoint = (row.source.get("checkpoint") or {}).get("sha256")
    content = [row.method, *condition, checkpoint, data_name(row)]
    return _text([*content, network_settings(row), comparable_settings(row)])


def independent(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """Split the rows of a group into lists of independent repeats, without identical results.

    Different results with the same seed and draw go to separate lists.
    """
    lists: list[dict[tuple, ResultRow]] = []
    for row in rows:
        key = repeat_key(row)
        for found in lists:
            if key not in found:
                found[key] = row
                break
            # Compared as text, because NaN != NaN.
            if _text([found[key].last, found[key].best]) == _text([row.last, row.best]):
                break
        else:
            lists.append({key: row})
    return [list(found.values()) for found in lists]


def varied(rows: Sequence[ResultRow]) -> str:
    """Describe how many pretraining seeds, seeds and draws the repeats have.

    >>> def row(seed, draw):
    ...     return ResultRow("SimCLR", "linear", {}, {}, {}, {}, seed, 10, draw)
    >>> varied([row(0, 0), row(0, 1), row(1, 0), row(1, 1)])
    '2 probe seeds, 2 label draws'
    """
    frozen = all((row.mode or ("frozen" if row.protocol in FROZEN else "")) == "frozen" for row in rows)
    words = ("pretraining seeds", "probe seeds" if frozen else "training seeds", "label draws")
    counts = [len(set(column)) for column in zip(*map(repeat_key, rows), strict=True)]
    return ", ".join(f"{count} {word}" for count, word in zip(counts, words, strict=True) if count > 1)


def mark(rows: Iterable[ResultRow]) -> str:
    """Return ``*`` if a probe of the rows has not converged."""
    return "*" if any(unconverged(row) is not None for row in rows) else ""


def spread_notes(repeats: Iterable[tuple[str, Sequence[ResultRow]]]) -> list[str]:
    """Explain each kind of ± in a sentence that lists its measurements, and ``*`` if it occurs."""
    found: dict[str, dict[str, None]] = {}
    falls: dict[str, float] = {}
    for words, rows in repeats:
        if fall := max((unconverged(row) or 0.0 for row in rows), default=0.0):
            falls[words] = max(fall, falls.get(words, 0.0))
        if len(rows) > 1:
            found.setdefault(varied(rows), {})[words] = None
    notes = [f"± is the deviation over {what}: {'; '.join(names)}." for what, names in found.items()]
    if falls:
        listed = "; ".join(f"{words} ({100 * fall:.1f} %)" for words, fall in falls.items())
        notes.append(f"* not converged: the training loss still fell in the last epoch: {listed}.")
    return notes


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
