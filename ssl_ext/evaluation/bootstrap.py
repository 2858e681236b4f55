"""Bootstrap over images, or over groups of images (patients, slides): a cluster bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

LEVEL = 0.95
REPLICATES = 1000
CHUNK = 500_000  # weights in memory at a time

Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Maps weights (N, B) of the images to metrics (..., B)."""


def units(count: int, groups: Sequence[Any] | np.ndarray | None) -> tuple[np.ndarray, int]:
    """Return each image's unit index and the number of units; a unit is a group, or else an image."""
    if groups is None:
        return np.arange(count), count
    names, unit = np.unique(np.asarray(groups), return_inverse=True)
    return unit.reshape(-1), len(names)


def resamplings(
    count: int, groups: Sequence[Any] | np.ndarray | None = None, *, replicates: int, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yield weights (count, B), the multiplicity of each image in B of the ``replicates`` resamplings.

    Deterministic in the arguments, so two models can be resampled in pairs.
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
    """Compute a statistic (..., replicates) on resampled images or groups.

    Args:
        statistic: Maps weights of the images to metrics, see :class:`ssl_ext.evaluation.weighted.Weighted`.
        count: Number of images.
        groups: Group of each image; None where images are independent.
        replicates: Number of resamplings.
        seed: Seed of the resampling.
    """
    parts = [statistic(weights) for weights in resamplings(count, groups, replicates=replicates, seed=seed)]
    return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}


def interval(values: np.ndarray, number: int, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Expanded percentile interval of a bootstrapped statistic of ``number`` resampled units.

    Plain percentile intervals are too narrow for few units. The percentiles Φ(±√(n / (n − 1)) t) with the
    quantile t of Student's t with n − 1 degrees of freedom correct this (Hesterberg, "What Teachers Should
    Know About the Bootstrap", 2015, Section 4.4). None if all replicates are equal, or more than half are
    NaN.
    """
    from scipy import stats

    known = values[~np.isnan(values)]
    if number < 2 or 2 * len(known) < len(values) or np.ptp(known) == 0:
        return None
    width = np.sqrt(number / (number - 1)) * stats.t.ppf((1 + level) / 2, number - 1)
    low, high = np.quantile(known, stats.norm.cdf([-width, width]))
    return float(low), float(high)


def share_interval(
    right: int, number: int, *, level: float = LEVEL, method: Literal["exact", "wilson"] = "exact"
) -> tuple[float, float]:
    """Interval of a proportion, also of 0 and 1, which resampling does not vary: Clopper-Pearson or Wilson.

    >>> [round(end, 4) for end in share_interval(10, 10)]
    [0.6915, 1.0]
    >>> [round(end, 4) for end in share_interval(10, 10, method="wilson")]
    [0.7225, 1.0]
    """
    from scipy import stats

    found = stats.binomtest(right, number).proportion_ci(level, method=method)
    return float(found.low), float(found.high)
