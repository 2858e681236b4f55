"""Errors over numbers of labels: a fitted power law, its interval over draws, and extrapolation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import LEVEL

FEWEST = 3
"""Fewest numbers of labels: as many as the law has parameters."""
REPLICATES = 200


@dataclass(frozen=True)
class PowerLaw:
    """The law error = a · n^(−b) + c, with a > 0, b in [0, 3] and c in [0, 1].

    ``replicates`` (R, 3) are the parameters fitted to resampled draws; empty where no number of labels has
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
        """Percentile interval of the fitted error over resampled draws; None without replicates."""
        if not len(self.replicates):
            return None
        found = _law(float(n), *self.replicates.T)
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def fit_power_law(errors: Mapping[int, Sequence[float]], *, seed: int = 0) -> PowerLaw:
    """Fit a power law to the mean errors over draws, by number of labels, with least squares.

    Cortes et al., "Learning Curves: Asymptotic Values and Rate of Convergence", 1993. Each replicate
    resamples the draws of every number of labels with replacement. The test images are the same for all.

    Args:
        errors: Errors in [0, 1] of the draws, by number of labels.
        seed: Seed of the resampling.

    Raises:
        ValueError: Fewer than three numbers of labels, or no fit was found.
    """
    if len(errors) < FEWEST:
        raise ValueError(f"{len(errors)} numbers of labels: a power law needs at least {FEWEST}")
    n = np.array(sorted(errors), dtype=float)
    draws = [np.asarray(errors[int(one)], dtype=float) for one in n]
    found = _fit(n, np.array([one.mean() for one in draws]))
    if found is None:
        raise ValueError("no power law fits these errors")
    replicates = []
    if any(len(one) > 1 for one in draws):
        generator = np.random.default_rng(seed)
        for _ in range(REPLICATES):
            means = [one[generator.integers(0, len(one), len(one))].mean() for one in draws]
            if (again := _fit(n, np.array(means))) is not None:
                replicates.append(again)
    return PowerLaw(*found, np.array(replicates).reshape(-1, 3))


def _law(
    n: np.ndarray | float, a: np.ndarray | float, b: np.ndarray | float, c: np.ndarray | float
) -> np.ndarray:
    return np.asarray(a * n ** (-np.asarray(b)) + c)


def _fit(n: np.ndarray, mean: np.ndarray) -> tuple[float, float, float] | None:
    """Parameters, or None where the search does not end; ``n`` is scaled by its geometric mean."""
    from scipy.optimize import curve_fit

    scale = float(np.exp(np.log(n).mean()))
    start = (max(float(np.median(mean)), 1e-3), 0.5, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the covariance of an exact fit is infinite
        try:
            (a, b, c), _ = curve_fit(
                _law, n / scale, mean, start, bounds=([0, 0, 0], [np.inf, 3, 1]), maxfev=2000
            )
        except RuntimeError:
            return None
    return float(a * scale**b), float(b), float(c)
