"""Significance tests: of two models on the same images, and of two methods over pretraining seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .bootstrap import LEVEL
from .identity import pretraining_seed, shared_repeats
from .results import ResultRow

T_FROM, WILCOXON_FROM = 5, 6  # least numbers of seeds; with 5 the smallest p of Wilcoxon's test is 0.0625
ALPHA, POWER = 1 - LEVEL, 0.8
MOST_SEEDS = 10_000


class Delong(NamedTuple):
    """AUCs of two models, their difference with its 95 % interval, and the p-value."""

    first: float
    second: float
    difference: float
    ends: tuple[float, float]
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test (1947): discordant counts and the two-sided binomial p-value.

    ``first`` and ``second`` (N,) are True for correctly classified images. The counts are the images that
    only the first, and only the second model classifies correctly.

    >>> mcnemar(np.array([1, 1, 1, 1, 0]) > 0, np.array([0, 0, 0, 1, 0]) > 0)
    (3, 0, 0.25)
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return only_first, only_second, p


def delong(first: np.ndarray, second: np.ndarray, positive: np.ndarray) -> Delong | None:
    """DeLong's test of two correlated macro AUCs over C classes, in O(C N log N).

    DeLong et al., "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic
    Curves", 1988, with the midranks of Sun and Xu, 2014. For several classes, the structural components of
    each image are summed over the classes, and the variance is that of the sums within each class.

    Args:
        first: Scores (N, C) of the first model.
        second: Scores (N, C) of the second model on the same images.
        positive: Mask (N, C) of the positive images of each class.

    Returns:
        None if a class has fewer than two positive or negative images.
    """
    _, stratum, counts = np.unique(positive, axis=0, return_inverse=True, return_counts=True)
    stratum = stratum.reshape(-1)
    if min(counts.min(), positive.sum(axis=0).min(), (~positive).sum(axis=0).min()) < 2:
        return None
    components = np.zeros((2, len(positive)))
    areas = np.zeros(2)
    columns = positive.shape[1]
    for model, scores in enumerate((first, second)):
        for score, own in zip(scores.T, positive.T, strict=True):
            m, n = int(own.sum()), int((~own).sum())
            every, among, others = (stats.rankdata(part) for part in (score, score[own], score[~own]))
            # Fractions of negatives below each positive, and of positives above each negative.
            below, above = (every[own] - among) / n, 1 - (every[~own] - others) / m
            components[model, own] += below / columns
            components[model, ~own] += above * counts[stratum[~own]] / (n * columns)
            areas[model] += below.mean() / columns
    unlike = components[0] - components[1]
    variance = sum(unlike[stratum == k].var(ddof=1) / count for k, count in enumerate(counts))
    deviation, difference = math.sqrt(variance), float(areas[0] - areas[1])
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * deviation
    p = float(2 * stats.norm.sf(abs(difference) / deviation)) if deviation else float(difference == 0)
    return Delong(float(areas[0]), float(areas[1]), difference, (difference - half, difference + half), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing (Holm, 1979); keeps their order. NaN is no test and stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [math.nan] * len(p_values), 0.0
    known = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    for rank, index in enumerate(sorted(known, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(known) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def over_seeds(
    first: Sequence[ResultRow], second: Sequence[ResultRow], metric: str, which: str
) -> tuple[list[float], list[float]]:
    """Average a metric of two methods at each shared pretraining seed.

    Means are over shared evaluation seeds and draws; pretraining seeds without any are omitted.
    """
    sides: list[dict[int, list[ResultRow]]] = []
    for rows in (first, second):
        found: dict[int, list[ResultRow]] = {}
        for row in rows:
            if (seed := pretraining_seed(row)) is not None and metric in getattr(row, which):
                found.setdefault(seed, []).append(row)
        sides.append(found)
    means: tuple[list[float], list[float]] = ([], [])
    for seed in sorted(sides[0].keys() & sides[1].keys()):
        if pairs := shared_repeats(sides[0][seed], sides[1][seed]):
            for values, own in zip(means, zip(*pairs, strict=True), strict=True):
                values.append(float(np.mean([getattr(row, which)[metric] for row in own])))
    return means


def clear_best(
    scores: Sequence[float], paired: Callable[[int, int], tuple[Sequence[float], Sequence[float]]]
) -> int | None:
    """Index of the highest score if it differs from every other by a paired t-test (p < 0.05), else None.

    Holm's correction is for all pairs. ``paired(i, j)`` returns the values of two methods at shared seeds, of
    which a test needs five.
    """
    pairs = list(itertools.combinations(range(len(scores)), 2))
    if not pairs:
        return None
    found = [paired(*pair) for pair in pairs]
    tests = [paired_t(a, b) for a, b in found]
    best = max(range(len(scores)), key=scores.__getitem__)
    p_values = holm([1.0 if p is None else p for p in tests])
    return best if max(p for p, pair in zip(p_values, pairs, strict=True) if best in pair) < ALPHA else None


def paired_t(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float | None:
    """P-value of the paired t-test; None for fewer than five pairs or values that are not finite."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    if len(difference) < T_FROM or not np.isfinite(difference).all():
        return None
    if not difference.std():
        return float(difference[0] == 0)
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def seeds_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """95 % interval (Student's t) of the mean of independent values; None for fewer than two.

    >>> [round(end, 3) for end in seeds_interval([1.0, 3.0])]
    [-10.706, 14.706]
    """
    if len(values) < 2:
        return None
    n, mean = len(values), float(np.mean(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def chance_difference(groups: Sequence[Sequence[float]]) -> float | None:
    """Tukey's honestly significant difference (5 %) of the means of k groups (unequal sizes: Kramer, 1956).

    Larger differences between any two means are significant. The deviation is pooled over all groups; None if
    no group has two values.

    >>> round(chance_difference([[1.0, 3.0], [5.0, 7.0]]), 3)
    6.085
    """
    sizes = sorted(len(group) for group in groups if len(group))
    free = sum(sizes) - len(sizes)
    if len(sizes) < 2 or not free:
        return None
    variance = sum(len(group) * float(np.var(group)) for group in groups if len(group)) / free
    width = float(stats.studentized_range.ppf(LEVEL, len(sizes), free))
    return width * math.sqrt(variance / 2 * (1 / sizes[0] + 1 / sizes[1]))


class SeedDifference(NamedTuple):
    """Mean difference over n pretraining seeds, its 95 % interval and p-values; None if not computed."""

    n: int
    mean: float
    ends: tuple[float, float] | None
    t_p: float | None
    wilcoxon_p: float | None
    more_seeds: int | None


def seed_difference(first: Sequence[float], second: Sequence[float]) -> SeedDifference:
    """Compare two methods over pretraining seeds; ``first[i]`` and ``second[i]`` share a seed.

    The interval (Student's t) needs two seeds, the paired t-test five, Wilcoxon's signed-rank test six.
    ``more_seeds``: additional seeds for a power of 80 % of a paired t-test at 5 %, if the observed mean and
    deviation are the true ones; None for no difference or more than 10,000 seeds.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    difference = a - b
    n, mean = len(difference), float(difference.mean())
    if n < 2:
        return SeedDifference(n, mean, None, None, None, None)
    deviation = float(difference.std(ddof=1))
    wilcoxon_p = None
    if n >= WILCOXON_FROM:
        wilcoxon_p = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    needed = seeds_needed(mean, deviation)
    more = None if needed is None else max(0, needed - n)
    return SeedDifference(n, mean, seeds_interval(difference), paired_t(a, b), wilcoxon_p, more)


def seeds_needed(difference: float, deviation: float) -> int | None:
    """Number of seeds, at least five, for a power of 80 % of a paired two-sided t-test at 5 %.

    ``difference`` and ``deviation`` are the mean and standard deviation of the paired differences.

    >>> seeds_needed(1.0, 1.0)
    10
    """
    if not difference:
        return None
    effect = abs(difference) / deviation if deviation else math.inf

    def power(n: int) -> float:
        bound, shift = stats.t.ppf(1 - ALPHA / 2, n - 1), min(effect * math.sqrt(n), 1e3)
        return float(stats.nct.sf(bound, n - 1, shift) + stats.nct.cdf(-bound, n - 1, shift))

    low, high = T_FROM - 1, T_FROM
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
