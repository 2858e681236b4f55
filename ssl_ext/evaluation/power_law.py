"""Errors over numbers of labels: a fitted power law, its interval over draws, and extrapolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import LEVEL

FEWEST = 3
"""Fewest numbers of labels: as many as the law has parameters."""
REPLICATES = 200
STEEPEST = 3.0
STEPS, ZOOMS = 61, 6
"""Exponents tried in each interval, and intervals, each 30 times narrower around the best exponent."""


@dataclass(frozen=True)
class PowerLaw:
    """The law error = a · n^(−b) + c, with a ≥ 0, b in [0, 3] and c in [0, 1].

    ``replicates`` (R, 3) are the parameters fitted to random means; empty where no number of labels has
    several draws.
    """

    a: float
    b: float
    c: float
    replicates: np.ndarray

    def error(self, n: np.ndarray | float) -> np.ndarray:
        """Error at numbers of labels."""
        return _law(np.asarray(n, dtype=float), self.a, self.b, self.c)

    def interval(self, n: float, *, level: float = LEVEL) -> tuple[float, float] | None:
        """Percentile interval of the fitted error over the replicates; None without any."""
        if not len(self.replicates):
            return None
        found = _law(float(n), *self.replicates.T)
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def fit_power_law(errors: Mapping[int, Sequence[float]], *, seed: int = 0) -> PowerLaw:
    """Fit a power law to the mean errors over draws, by number of labels, with least squares.

    Cortes et al., "Learning Curves: Asymptotic Values and Rate of Convergence", 1993. Each replicate draws
    every mean from Student's distribution around the measured one; resampling two or three draws would give
    intervals that are too narrow. The test images are the same for all.

    Args:
        errors: Errors from 0 (1 minus a score) of the draws, by number of labels.
        seed: Seed of the replicates.

    Raises:
        ValueError: Fewer than three numbers of labels.
    """
    if len(errors) < FEWEST:
        raise ValueError(f"{len(errors)} numbers of labels: a power law needs at least {FEWEST}")
    n = np.array(sorted(errors), dtype=float)
    draws = [np.asarray(errors[int(one)], dtype=float) for one in n]
    means = np.array([[one.mean() for one in draws]])
    if any(len(one) > 1 for one in draws):
        generator = np.random.default_rng(seed)
        others = np.stack([_means(one, generator) for one in draws], axis=1)
        means = np.concatenate([means, others.clip(0, max(1.0, means.max()))])
    (a, b, c), *_ = found = _fit(n, means)
    return PowerLaw(float(a), float(b), float(c), found[1:])


def _means(draws: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random means (R,) with Student's distribution; that of a single draw is not varied."""
    if len(draws) == 1:
        return draws.repeat(REPLICATES)
    error = draws.std(ddof=1) / len(draws) ** 0.5
    return draws.mean() + error * generator.standard_t(len(draws) - 1, REPLICATES)


def _law(
    n: np.ndarray | float, a: np.ndarray | float, b: np.ndarray | float, c: np.ndarray | float
) -> np.ndarray:
    return np.asarray(a * n ** (-np.asarray(b)) + c)


def _fit(n: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Parameters (R, 3) of R laws with the least squared distance from errors (R, K) at K numbers ``n``.

    For an exponent, a and c are a linear problem; the exponent is searched on a grid that is refined.
    """
    scale = np.exp(np.log(n).mean())
    low, high = np.zeros(len(errors)), np.full(len(errors), STEEPEST)
    every = np.arange(len(errors))
    for _ in range(ZOOMS):
        tried = np.linspace(low, high, STEPS, axis=1)
        a, c, loss = _linear((n / scale) ** -tried[..., None], errors[:, None])
        best = loss.argmin(axis=1)
        step = (high - low) / (STEPS - 1)
        b, a, c = tried[every, best], a[every, best], c[every, best]
        low, high = np.maximum(b - step, 0), np.minimum(b + step, STEEPEST)
    return np.stack([a * scale**b, b, c], axis=1)


def _linear(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least-squares a ≥ 0 and c in [0, 1] of y = a · x + c along the last axis, and the mean squared error.

    The minimum of a convex function lies inside the bounds or is that of an edge.
    """
    x_mean, y_mean = x.mean(axis=-1), y.mean(axis=-1)
    spread = ((x - x_mean[..., None]) ** 2).mean(axis=-1)
    joint = ((x - x_mean[..., None]) * (y - y_mean[..., None])).mean(axis=-1)
    slope = np.divide(joint, spread, out=np.zeros_like(joint), where=spread > 1e-20)
    square = (x**2).mean(axis=-1)
    a = np.stack([slope, *(((y - end) * x).mean(axis=-1) / square for end in (0, 1)), np.zeros_like(slope)])
    c = np.stack([y_mean - slope * x_mean, *(np.full_like(slope, end) for end in (0, 1)), y_mean + 0 * slope])
    a[1:3], c[3] = np.maximum(a[1:3], 0), np.clip(c[3], 0, 1)
    loss = ((a[..., None] * x + c[..., None] - y) ** 2).mean(axis=-1)
    loss[0][(slope < 0) | (c[0] < 0) | (c[0] > 1)] = np.inf
    best = loss.argmin(axis=0)[None]
    a, c, loss = (np.take_along_axis(one, best, axis=0)[0] for one in (a, c, loss))
    return a, c, loss
