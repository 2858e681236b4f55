"""Tests of differences: between two given models on the same images, and between methods over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .bootstrap import LEVEL
from .identity import pretraining_seed, shared_repeats
from .results import ResultRow

T_FROM, WILCOXON_FROM = 5, 6  # pretraining seeds; with 5 the smallest p of Wilcoxon's test is 0.0625
ALPHA, POWER = 1 - LEVEL, 0.8
MOST_SEEDS = 10_000


class Delong(NamedTuple):
    """Areas under the ROC curves of two scores, their difference with its interval, and the p-value."""

    first: float
    second: float
    difference: float
    ends: tuple[float, float]
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Images that only the first and only the second model gets right, and the exact two-sided p-value.

    ``first`` and ``second`` (N,) tell which images are right (McNemar, 1947; exact binomial form).

    >>> mcnemar(np.array([1, 1, 1, 1, 0]) > 0, np.array([0, 0, 0, 1, 0]) > 0)
    (3, 0, 0.25)
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return only_first, only_second, p


def delong(first: np.ndarray, second: np.ndarray, positive: np.ndarray) -> Delong | None:
    """Difference of two correlated areas under the ROC curve, macro averages over C classes, in O(C N log N).

    DeLong et al., "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic
    Curves", 1988, by the midranks of Sun and Xu, 2014. For several classes each image's structural components
    are added up over the classes, and the variance is that of the sums within each class of images.

    Args:
        first: Scores (N, C) of a model.
        second: Scores (N, C) of another on the same images.
        positive: Mask (N, C) of the positive images of each score.

    Returns:
        None if a class of images, or of the others, has fewer than two.
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
            # Shares of the negatives below each positive, and of the positives above each negative.
            below, above = (every[own] - among) / n, 1 - (every[~own] - others) / m
            components[model, own] += below * counts[stratum[own]] / (m * columns)
            components[model, ~own] += above * counts[stratum[~own]] / (n * columns)
            areas[model] += below.mean() / columns
    unlike = components[0] - components[1]
    variance = sum(unlike[stratum == k].var(ddof=1) / count for k, count in enumerate(counts))
    deviation, difference = math.sqrt(variance), float(areas[0] - areas[1])
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * deviation
    p = float(2 * stats.norm.sf(abs(difference) / deviation)) if deviation else float(difference == 0)
    return Delong(float(areas[0]), float(areas[1]), difference, (difference - half, difference + half), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def over_seeds(
    first: Sequence[ResultRow], second: Sequence[ResultRow], metric: str, which: str
) -> tuple[list[float], list[float]]:
    """Means of a metric at each pretraining seed that two methods share.

    Each is over the seeds and draws of the evaluation that both have; seeds without any are left out.
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


class SeedDifference(NamedTuple):
    """A difference over n pretraining seeds, its 95 % interval and p-values; None where there is none."""

    n: int
    mean: float
    ends: tuple[float, float] | None
    t_p: float | None
    wilcoxon_p: float | None
    more_seeds: int | None


def seed_difference(first: Sequence[float], second: Sequence[float]) -> SeedDifference:
    """Compare two methods over pretraining seeds; ``first[i]`` and ``second[i]`` share a seed.

    The interval is that of Student's t, from two seeds on. The paired t-test is made from five seeds on and
    Wilcoxon's signed-rank test from six. ``more_seeds`` is the number of further seeds with which a paired
    t-test at 5 % would find the difference seen with a probability of 80 %; None for no difference or more
    than 10,000 seeds.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    difference = a - b
    n, mean = len(difference), float(difference.mean())
    if n < 2:
        return SeedDifference(n, mean, None, None, None, None)
    deviation = float(difference.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * deviation / math.sqrt(n)
    t_p = wilcoxon_p = None
    if n >= T_FROM:
        t_p = float(stats.ttest_rel(a, b).pvalue) if deviation else float(mean == 0)
    if n >= WILCOXON_FROM:
        wilcoxon_p = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    needed = seeds_needed(mean, deviation)
    more = None if needed is None else max(0, needed - n)
    return SeedDifference(n, mean, (mean - half, mean + half), t_p, wilcoxon_p, more)


def seeds_needed(difference: float, deviation: float) -> int | None:
    """Seeds, at least five, for a paired t-test at 5 % to find a mean difference with a probability of 80 %.

    ``deviation`` is the standard deviation of the differences.

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
