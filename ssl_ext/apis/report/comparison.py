"""Group measurements that can be compared: same data, condition and settings."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ssl_ext.evaluation import METRICS, Condition, ResultRow, Stat
from ssl_ext.evaluation.identity import comparable_settings, data_name, repeat_key
from ssl_ext.evaluation.metrics import confusion_counts
from ssl_ext.evaluation.significance import clear_best, over_seeds


class NamedRow(NamedTuple):
    """A result row with the name of its method in the report."""

    method: str
    row: ResultRow


@dataclass(frozen=True, eq=False)
class Line:
    """Repeated measurements (seeds, draws, runs) of one method under equal settings."""

    method: str
    variant: str
    rows: Sequence[ResultRow]
    which: str

    @cached_property
    def stats(self) -> dict[str, Stat]:
        """Every scalar metric that all repeats have."""
        found = [getattr(row, self.which) for row in self.rows]
        return {
            name: Stat.of_rows(self.rows, name, self.which)
            for name, value in found[0].items()
            if isinstance(value, int | float) and all(name in metrics for metrics in found)
        }

    @property
    def pretrained(self) -> bool:
        """True if the rows have a checkpoint; False for baselines."""
        return any(row.source.get("checkpoint") for row in self.rows)

    @property
    def confusion(self) -> list | None:
        """Counts of true (down) and predicted (across) classes, summed over the repeats; or of each label."""
        matrices = [confusion_counts(getattr(row, self.which)) for row in self.rows]
        if any(matrix is None for matrix in matrices):
            return None
        arrays = [np.asarray(matrix) for matrix in matrices]
        if len({array.shape for array in arrays}) > 1:
            return None
        return np.sum(arrays, axis=0).tolist()

    def mean_cost(self, name: str) -> float | None:
        """Mean of a cost over the repeats that have it."""
        values = [row.cost[name] for row in self.rows if name in row.cost]
        return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class Comparison:
    """All measurements on some data under a condition.

    Lines of one ``variant`` have equal settings. ``variants`` gives, for each letter, the settings that
    differ between variants (a single variant is named ``""``); ``common`` the settings that agree.
    """

    data: str
    condition: Condition
    lines: Sequence[Line]
    variants: Mapping[str, Mapping[str, str]]
    common: Mapping[str, str]

    def best(self, metric: str, variant: str) -> Line | None:
        """Return the line that is significantly better than all others of a variant, or None.

        It has the best mean and differs from every other pretrained line (p < 0.05) by a paired t-test over
        five or more shared pretraining seeds, with Holm's correction for all pairs of pretrained lines.
        """
        better = METRICS[metric].better if metric in METRICS else 0
        lines = [line for line in self.lines if line.variant == variant and metric in line.stats]
        lines = [line for line in lines if not math.isnan(line.stats[metric].mean)]
        if not better or not lines:
            return None
        best = max(lines, key=lambda line: better * line.stats[metric].mean)
        trained = [line for line in lines if line.pretrained]
        if best not in trained:
            return None
        index = clear_best(
            [better * line.stats[metric].mean for line in trained],
            lambda i, j: over_seeds(trained[i].rows, trained[j].rows, metric, best.which),
        )
        return None if index is None else trained[index]


def compare(rows: Sequence[NamedRow], *, which: str = "last") -> list[Comparison]:
    """Group rows into comparisons, in the order of the rows.

    Args:
        rows: Result rows with the names of their methods.
        which: ``'last'`` epoch, or the ``'best'`` epoch on validation.
    """
    groups: dict[tuple[str, Condition], list[NamedRow]] = {}
    for named in rows:
        groups.setdefault((data_name(named.row), Condition.from_row(named.row)), []).append(named)
    return [_comparison(data, condition, members, which) for (data, condition), members in groups.items()]


def _comparison(data: str, condition: Condition, rows: Sequence[NamedRow], which: str) -> Comparison:
    ways: list[dict[str, str]] = []
    repeats: dict[tuple[int, str], list[ResultRow]] = {}
    measured: Counter[str] = Counter()
    for method, row in rows:
        settings = comparable_settings(row)
        # Another result of the same seed and draw is not a repeat.
        measured[key := f"{method} {repeat_key(row)} {settings}"] += 1
        if measured[key] > 1:
            settings["measurement of the same seed and draw"] = str(measured[key])
        if settings not in ways:
            ways.append(settings)
        repeats.setdefault((ways.index(settings), method), []).append(row)
    names = [_letter(index) for index in range(len(ways))] if len(ways) > 1 else [""]
    keys = list(dict.fromkeys(key for way in ways for key in way))
    common = {key: ways[0][key] for key in keys if all(way.get(key) == ways[0].get(key) for way in ways)}
    differing = [key for key in keys if key not in common]
    return Comparison(
        data,
        condition,
        [
            Line(method, names[way], members, which)
            for (way, method), members in sorted(repeats.items(), key=lambda item: item[0][0])
        ],
        {
            name: {key: way.get(key, "not recorded") for key in differing}
            for name, way in zip(names, ways, strict=True)
        },
        common,
    )


def _letter(index: int) -> str:
    """A, B and so on to Z, then A2."""
    turn, place = divmod(index, len(string.ascii_uppercase))
    return string.ascii_uppercase[place] + (str(turn + 1) if turn else "")
