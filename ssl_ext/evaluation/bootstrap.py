"""Bootstrap over images, or over groups of images (patients, slides) that are resampled as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

LEVEL = 0.95
REPLICATES = 1000
CHUNK = 500_000  # weights in memory at a time

Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""From weights (N, B) of the images to metrics (..., B)."""


def units(count: int, groups: Sequence[Any] | np.ndarray | None) -> tuple[np.ndarray, int]:
    """Number of each image's resampled unit, and the number of units: groups, or without them the images."""
    if groups is None:
        return np.arange(count), count
    names, unit = np.unique(np.asarray(groups), return_inverse=True)
    return unit.reshape(-1), len(names)


def resamplings(
    count: int, groups: Sequence[Any] | np.ndarray | None = None, *, replicates: int, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yield weights (count, B): how often each image is in each of B resamplings, ``replicates`` in all.

    Equal arguments give equal weights, so that two models are resampled alike.
    """
    unit, number = units(count, groups)
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // max(count, number))
    for first in range(0, replicates, step):
        size = min(step, replicates - first)
        drawn = generator.integers(0, number, (size, number)) + number * np.arange(size)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=size * number).reshape(size, number)
        yield times.T.astype(np.float32)[unit]


def bootstrap(
    statistic: Statistic,
    count: int,
    groups: Sequence[Any] | np.ndarray | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Values (..., replicates) of a statistic of resampled images, or of resampled groups.

    Args:
        statistic: Metrics of weighted images, see :class:`ssl_ext.evaluation.weighted.Weighted`.
        count: Number of images.
        groups: Group of each image; None where images are independent.
        replicates: Number of resamplings.
        seed: Of the resamplings.
    """
    parts = [statistic(weights) for weights in resamplings(count, groups, replicates=replicates, seed=seed)]
    return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}


def interval(values: np.ndarray, number: int, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Percentile interval of bootstrap values of a statistic of ``number`` resampled units.

    The percentiles are those of the normal quantile that Student's t with ``number`` − 1 degrees of freedom
    asks for, and its variance n / (n − 1): for few units plain percentiles are too narrow (Hesterberg, "What
    Teachers Should Know About the Bootstrap", 2015, Section 4.4). None where replicates do not differ, or
    fewer than half have a value.
    """
    from scipy import stats

    known = values[~np.isnan(values)]
    if number < 2 or 2 * len(known) < len(values) or np.ptp(known) == 0:
        return None
    width = np.sqrt(number / (number - 1)) * stats.t.ppf((1 + level) / 2, number - 1)
    low, high = np.quantile(known, stats.norm.cdf([-width, width]))
    return float(low), float(high)


def share_interval(right: int, number: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval (Clopper and Pearson) of a share, for shares of 0 and 1, which no resampling varies.

    >>> [round(end, 4) for end in share_interval(10, 10)]
    [0.6915, 1.0]
    """
    from scipy import stats

    found = stats.binomtest(right, number).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)
