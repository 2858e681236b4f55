"""Reading the result rows of two evaluations, and pairing equal measurements."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ssl_ext.apis.report.rows import find_results
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Condition, ResultRow
from ssl_ext.evaluation.identity import (
    comparable_settings,
    data_name,
    network_settings,
    pretraining_seed,
)


@dataclass(frozen=True)
class Side:
    """Result rows of one method."""

    name: str
    rows: Sequence[ResultRow]

    @property
    def checkpoints(self) -> list[str]:
        """Hashes of the checkpoints, in the order of the rows."""
        found = [(row.source.get("checkpoint") or {}).get("sha256") for row in self.rows]
        return list(dict.fromkeys(hash for hash in found if hash))

    @property
    def seeds(self) -> set[int]:
        """Pretraining seeds of the checkpoints."""
        return {seed for row in self.rows if (seed := pretraining_seed(row)) is not None}


class Pair(NamedTuple):
    """Rows of both sides with the same data, condition and settings."""

    data: str
    condition: Condition
    first: Sequence[ResultRow]
    second: Sequence[ResultRow]


def read_side(place: str | os.PathLike, method: str | None) -> Side:
    """Read the rows of a method from a folder or result file; by default the method with a checkpoint.

    Raises:
        UserError: There are no results, the method is unknown, or several methods have checkpoints.
    """
    rows = [row for file in find_results([place]) for row in file.rows]
    known = list(dict.fromkeys(row.method for row in rows))
    chosen = (
        [method]
        if method is not None
        else list(dict.fromkeys(row.method for row in rows if row.source.get("checkpoint"))) or known
    )
    if method is not None and method not in known:
        raise UserError(f"--methods: '{place}' has no rows of {method}; available are {', '.join(known)}.")
    if len(chosen) > 1:
        raise UserError(f"'{place}' has rows of {', '.join(chosen)}: choose one per side with --methods.")
    return Side(chosen[0], [row for row in rows if row.method == chosen[0]])


def paired(first: Side, second: Side) -> tuple[list[Pair], list[str]]:
    """Pair comparable rows; also return a sentence for each condition whose settings differ.

    Raises:
        UserError: A side has rows of several networks, or the sides share no measurement.
    """
    sides = [_grouped(side) for side in (first, second)]
    pairs, notes = [], []
    for (data, condition), ways in sides[0].items():
        others = sides[1].get((data, condition), {})
        same = [settings for settings in ways if settings in others]
        pairs += [Pair(data, condition, ways[settings], others[settings]) for settings in same]
        if others and not same:
            one, other = dict(next(iter(ways))), dict(next(iter(others)))
            keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
            differing = ", ".join(f"{key} = {one.get(key, '-')} / {other.get(key, '-')}" for key in keys)
            notes.append(f"{data}, {condition.words} was not compared, because settings differ: {differing}.")
    if not pairs:
        raise UserError(f"The two sides share no measurement. {' '.join(notes)}".strip())
    return pairs, notes


Ways = dict[tuple[tuple[str, str], ...], list[ResultRow]]


def _grouped(side: Side) -> dict[tuple[str, Condition], Ways]:
    """Group rows by data and condition, then by settings."""
    groups: dict[tuple[str, Condition], Ways] = {}
    networks: dict[tuple[str, Condition, tuple], dict[str, str]] = {}
    for row in side.rows:
        settings = tuple(comparable_settings(row).items())
        key = data_name(row), Condition.from_row(row)
        network = network_settings(row)
        known = networks.setdefault((*key, settings), network)
        if differing := [name for name in {**network, **known} if network.get(name) != known.get(name)]:
            raise UserError(
                f"{side.name}: rows of several networks, which differ in {', '.join(differing)}; give "
                "the folders of one network."
            )
        groups.setdefault(key, {}).setdefault(settings, []).append(row)
    return groups
