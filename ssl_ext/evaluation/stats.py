"""Statistics of metrics over repeated measurements, and their formatting."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .metric_names import METRICS, SHOWN, Metric
from .results import ResultRow

INTERVALS = "[a,b] is the 95 % bootstrap interval of one measurement over the {}."


class Stat(NamedTuple):
    """Mean, sample standard deviation (0 for one value), count, and the interval of a single measurement."""

    mean: float
    std: float
    n: int
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        """Compute statistics of one or more values; NaN if a value is not finite."""
        if not all(map(math.isfinite, values)):
            return cls(math.nan, math.nan, len(values))
        return cls(
            statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values)
        )

    @classmethod
    def of_rows(cls, rows: Sequence[ResultRow], metric: str, which: str) -> Stat:
        """Compute statistics of one or more rows; a single row keeps its stored interval."""
        stat = cls.of([float(getattr(row, which)[metric]) for row in rows])
        ends = (rows[0].intervals.get(which) or {}).get(metric, ())
        return stat if len(rows) > 1 or len(ends) != 2 else stat._replace(interval=(ends[0], ends[1]))

    def text(self, metric: str, *, count: bool = False) -> str:
        """Format the mean with ± std, or with the interval of a single value, in the metric's unit.

        NaN is "-". With ``count``, the number of values is added unless there is an interval.
        """
        if math.isnan(self.mean):
            return "-"
        _, scale, digits, _ = METRICS.get(metric, Metric(metric))
        spread = f" ± {scale * self.std:.{digits}f}" if self.n > 1 else ""
        if self.interval is not None:
            spread = " [" + ",".join(f"{scale * end:.{digits - 1}f}" for end in self.interval) + "]"
        elif count:
            spread += f" (n={self.n})"
        return f"{scale * self.mean:.{digits}f}{spread}"


def shown_metrics(rows: Sequence[ResultRow]) -> list[Sequence[str]]:
    """Metrics of the default tables; balanced accuracy only for imbalanced classes."""
    unequal = any(row.source.get("majority") for row in rows)
    return [[metric for metric in group if unequal or metric != "balanced_acc"] for group in SHOWN]


def majority_stat(rows: Sequence[ResultRow], metric: str) -> Stat | None:
    """Metric of the majority-class baseline; None for balanced classes."""
    found: dict[str, float] = next((row.source["majority"] for row in rows if row.source.get("majority")), {})
    return Stat(found[metric], 0.0, 1) if metric in found else None


def interval_notes(rows: Sequence[ResultRow]) -> list[str]:
    """Return a note on the resampled units, if there are intervals."""
    over = dict.fromkeys(row.intervals["over"] for row in rows if row.intervals.get("over"))
    return [INTERVALS.format(" or ".join(f"test {one}" for one in over))] if over else []
