"""Conditions and metrics of result rows: their names, units and statistics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .results import ResultRow

MODES = {
    "knn": "frozen",
    "cluster": "frozen",
    "linear": "frozen",
    "linear-aug": "frozen",
    "finetune": "unfrozen",
    "semi": "unfrozen",
    "supervised": "unfrozen",
}


class Metric(NamedTuple):
    """Formatting of a metric: heading, factor (100 for percent) and decimals.

    ``better`` is 1 if higher is better, -1 if lower is better, else 0.
    """

    label: str
    scale: int = 1
    digits: int = 4
    better: int = 1


METRICS = {
    "acc": Metric("acc. %", 100, 2),
    "acc_plain": Metric("plain head %", 100, 2),
    "acc_mix": Metric("mix head %", 100, 2),
    "acc_plain_momentum": Metric("EMA, plain head %", 100, 2),
    "acc_mix_momentum": Metric("EMA, mix head %", 100, 2),
    "top5": Metric("top-5 %", 100, 2),
    "auc": Metric("AUC"),
    "auprc": Metric("AUPRC"),
    "kappa": Metric("kappa"),
    "balanced_acc": Metric("bal. acc. %", 100, 2),
    "f1": Metric("macro F1"),
    "ece": Metric("ECE", better=-1),
    "silhouette_pca2": Metric("silh. PCA-2", 1, 3),
    "explained_pca2": Metric("PCA-2 explains %", 100, 1, 0),
    "silhouette_pca50": Metric("silh. PCA-50", 1, 3),
    "explained_pca50": Metric("PCA-50 explains %", 100, 1, 0),
    "nmi": Metric("NMI", 1, 3),
    "ari": Metric("ARI", 1, 3),
}
CLUSTERING = ("silhouette_pca2", "explained_pca2", "silhouette_pca50", "explained_pca50", "nmi", "ari")
# Metrics shown by default: of classifications (balanced accuracy of unequal classes), and of clusterings.
SHOWN = (
    ("acc", "balanced_acc", "kappa", "top5", "auc"),
    ("silhouette_pca2", "silhouette_pca50", "nmi", "ari"),
)
INTERVALS = "[a,b] is the 95 % bootstrap interval of one measurement over the {}."


class Condition(NamedTuple):
    """Fields that identify repeated measurements: protocol, labels used, mode and target."""

    protocol: str
    labels_per_class: int | None = None
    budget: int | None = None
    fraction: float | None = None
    mode: str | None = None
    target: str | None = None

    @classmethod
    def from_row(cls, row: ResultRow) -> Condition:
        """Condition of a result row."""
        return cls(*(getattr(row, name) for name in cls._fields))

    @property
    def labels(self) -> tuple[int | None, int | None, float | None]:
        """Labels per class, budget and fraction."""
        return self.labels_per_class, self.budget, self.fraction

    @property
    def words(self) -> str:
        """Text for a table heading.

        >>> Condition("transfer", labels_per_class=10, mode="frozen", target="PathMNIST").words
        'transfer to PathMNIST, 10 labels/class, frozen'
        """
        parts = ["kNN" if self.protocol == "knn" else self.protocol]
        if self.target is not None:
            parts[0] += f" to {self.target}"
        if self.labels_per_class is not None:
            parts.append(f"{self.labels_per_class} labels/class")
        if self.budget is not None:
            parts.append(f"{self.budget} labels")
        if self.fraction is not None:
            parts.append(f"{100 * self.fraction:g} % of labels")
        if self.labels == (None, None, None) and self.protocol in ("linear", "supervised", "budget"):
            parts.append("all labels")
        if self.mode is not None and self.mode != MODES.get(self.protocol):
            parts.append(self.mode)
        return ", ".join(parts)


class Stat(NamedTuple):
    """Mean, sample standard deviation (0 for one value), number of values; the interval of a single one."""

    mean: float
    std: float
    n: int
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        """Statistics of one or more values; NaN if one of them is not finite."""
        if not all(map(math.isfinite, values)):
            return cls(math.nan, math.nan, len(values))
        return cls(
            statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values)
        )

    @classmethod
    def of_rows(cls, rows: Sequence[ResultRow], metric: str, which: str) -> Stat:
        """Statistics of one or more rows, with the stored interval of a single one."""
        stat = cls.of([float(getattr(row, which)[metric]) for row in rows])
        ends = (rows[0].intervals.get(which) or {}).get(metric)
        return stat if ends is None or len(rows) > 1 else stat._replace(interval=(ends[0], ends[1]))

    def text(self, metric: str, *, count: bool = False) -> str:
        """Mean, and ± std of several values or the interval of one, in the metric's unit; "-" for NaN.

        With ``count`` the number of values, unless there is an interval.
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
    """Metrics of the default tables, without balanced accuracy where classes are about equal."""
    unequal = any(row.source.get("majority") for row in rows)
    return [[metric for metric in group if unequal or metric != "balanced_acc"] for group in SHOWN]


def majority_stat(rows: Sequence[ResultRow], metric: str) -> Stat | None:
    """A metric of always predicting the most frequent training class; None where classes are about equal."""
    found: dict[str, float] = next((row.source["majority"] for row in rows if row.source.get("majority")), {})
    return Stat(found[metric], 0.0, 1) if metric in found else None


def interval_notes(rows: Sequence[ResultRow]) -> list[str]:
    """A sentence that names the units of the intervals that are shown, if any."""
    over = dict.fromkeys(row.intervals["over"] for row in rows if row.intervals.get("over"))
    return [INTERVALS.format(" or ".join(f"test {one}" for one in over))] if over else []
