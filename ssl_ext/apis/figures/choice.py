"""Selection of one measurement from the rows of a result file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ssl_ext.errors import UserError
from ssl_ext.evaluation import Condition, ResultRow
from ssl_ext.evaluation.identity import data_name
from ssl_ext.evaluation.tables import repeats

# Fields of a result row that select a measurement.
KEYS = ("method", *Condition._fields, "seed", "draw")


def conditions(where: Sequence[str]) -> dict[str, str]:
    """Parse ``key=value`` texts into a dict.

    Raises:
        UserError: A text without ``=``, or with a key that is not one of :data:`KEYS`.
    """
    found = {}
    for text in where:
        key, mark, value = text.partition("=")
        if key not in KEYS or not mark:
            raise UserError(f"--where {text}: give KEY=VALUE with a KEY of {', '.join(KEYS)}.")
        found[key] = value
    return found


def choose(
    path: str | os.PathLike, rows: Sequence[ResultRow], wanted: Mapping[str, str], things: str
) -> tuple[str, list[ResultRow]]:
    """Return a description of the only matching measurement, and its repeats.

    Args:
        path: Path of the result file, for messages.
        rows: Candidate rows.
        wanted: Required values by key, from :func:`conditions`.
        things: Plural noun for the candidates, for messages.

    Raises:
        UserError: No measurement matches, or several do.
    """
    found = {
        (name, condition): members
        for name, cells in repeats(rows).items()
        for condition, members in cells.items()
    }
    fitting = {}
    for (name, condition), members in found.items():
        if kept := [row for row in members if fits(row, name, wanted)]:
            fitting[name, condition] = kept
    if len(fitting) != 1:
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        listed = [_words(*key, members) for key, members in (fitting or found).items()]
        raise UserError(
            f"'{path}' has {len(fitting) or 'no'} {things}{f' with {asked}' if asked else ''}: "
            f"{'; '.join(listed) or 'none at all'}. Choose one by --where KEY=VALUE; keys: {', '.join(KEYS)} "
            "(None: not used)."
        )
    (((name, condition), members),) = fitting.items()
    return _words(name, condition, members), members


def _names(row: ResultRow, name: str) -> tuple[str, str]:
    """Return the method of a row, and its numbered name if methods share a name: ``'SimCLR (1)'``."""
    return row.method, f"{name} (1)" if name == row.method else name


def fits(row: ResultRow, name: str, wanted: Mapping[str, str]) -> bool:
    """Tell if a row, whose method is called ``name``, has the wanted values."""
    return all(
        value in (_names(row, name) if key == "method" else (str(getattr(row, key)),))
        for key, value in wanted.items()
    )


def _words(name: str, condition: Condition, rows: Sequence[ResultRow]) -> str:
    return f"{name} on {data_name(rows[0])}, {condition.words}"
