"""Finding result files, and distinct names for their methods."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_ext.errors import UserError
from ssl_ext.evaluation import Condition, ResultRow, read_results, text_hash
from ssl_ext.evaluation.identity import network_settings, repeat_key
from ssl_ext.files import distinct_names

from .comparison import NamedRow, comparable_settings, data_name

Method = tuple[str, str, tuple[tuple[str, str], ...]]
"""An algorithm or baseline, the origin of its weights, and its network."""


@dataclass(frozen=True)
class ResultFile:
    """A ``results.json`` and its rows."""

    path: Path
    rows: Sequence[ResultRow]


def find_results(places: Sequence[str | os.PathLike]) -> list[ResultFile]:
    """Every ``results.json`` in folders, searched recursively, and result files given directly; sorted.

    ``predictions`` of the rows are paths from the current folder.

    Raises:
        UserError: A path does not exist, or there is no result file, or a damaged one.
    """
    found: dict[Path, Path] = {}
    for place in map(Path, places):
        if not place.exists():
            raise UserError(f"'{place}' does not exist.")
        paths = sorted(place.rglob("results.json")) if place.is_dir() else [place]
        found |= {path.resolve(): path for path in paths}
    files = [ResultFile(path, rows) for path in found.values() if (rows := read_results(path))]
    for file in files:
        for row in file.rows:
            if row.predictions is not None:
                row.predictions = str(file.path.parent / row.predictions)
    if not files:
        names = ", ".join(f"'{place}'" for place in places)
        raise UserError(f"No results under {names}: tools/evaluate.py writes them as results.json.")
    return files


def named_rows(files: Sequence[ResultFile], *, join_runs: bool = False) -> list[NamedRow]:
    """All rows with distinct names of their methods; repeated measurements count once.

    A method is an algorithm with one checkpoint, or a baseline with one config. Methods with equal names are
    extended by the distinctive parts of their paths. Baselines of two configs that share a measurement (raw
    pixels; the same random network) are one method.

    Args:
        files: Result files.
        join_runs: Treat all checkpoints of one algorithm, config file and network as repeats of one method.
    """
    kept: dict[str, tuple[Method, ResultRow]] = {}
    places: dict[Method, str] = {}
    alias: dict[Method, Method] = {}
    for file in files:
        for row in file.rows:
            method, place = _method(row, file.path, join_runs)
            places.setdefault(method, place)
            first, _ = kept.setdefault(_measurement(row), (method, row))
            if first != method:
                alias.setdefault(method, alias.get(first, first))
    rows = [(alias.get(method, method), row) for method, row in kept.values()]
    methods = list(dict.fromkeys(method for method, _ in rows))
    names = _names({method: places[method] for method in methods})
    return [NamedRow(names[method], row) for method, row in rows]


def _measurement(row: ResultRow) -> str:
    """Key of a measurement: condition, settings and results, without cost and file locations."""
    repeat = [row.method, Condition.from_row(row), *repeat_key(row), row.last, row.best]
    checkpoint = (row.source.get("checkpoint") or {}).get("sha256")
    content = [repeat, checkpoint, data_name(row), comparable_settings(row)]
    return json.dumps(content, sort_keys=True, default=str)


def _method(row: ResultRow, path: Path, join_runs: bool) -> tuple[Method, str]:
    """The method of a row, and the path that distinguishes it."""
    checkpoint = {} if join_runs else row.source.get("checkpoint") or {}
    place = str(checkpoint.get("path") or row.source.get("config") or path.parent)
    origin = str(checkpoint.get("sha256") or place)
    return (row.method, origin, tuple(network_settings(row).items())), place


def _names(places: dict[Method, str]) -> dict[Method, str]:
    """A name for each method: its algorithm, with the distinctive part of its path if needed."""
    names = {}
    for name in dict.fromkeys(method[0] for method in places):
        members = [method for method in places if method[0] == name]
        paths = [places[method] for method in members]
        if len(set(paths)) == len(paths):
            endings = distinct_names(paths)
        elif len({method[2] for method in members}) == len(members):
            endings = _differences([dict(method[2]) for method in members])
        else:  # the file was overwritten between two evaluations
            hashes = [text_hash(str(method[1:]))[:8] for method in members]
            endings = [f"{Path(place).name}/{mark}" for place, mark in zip(paths, hashes, strict=True)]
        for method, ending in zip(members, endings, strict=True):
            names[method] = name if len(members) == 1 else f"{name} ({ending.removesuffix('.py')})"
    return names


def _differences(networks: Sequence[dict[str, str]]) -> list[str]:
    """For each network, the settings that differ from those of the others."""
    keys = dict.fromkeys(key for network in networks for key in network)
    differing = [key for key in keys if len({network.get(key) for network in networks}) > 1]
    return [", ".join(f"{key}={network.get(key, '-')}" for key in differing) for network in networks]
