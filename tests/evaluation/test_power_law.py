"""Power laws of errors over numbers of labels."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ssl_ext.evaluation.power_law import _fit, _law, fit_power_law


def test_an_exact_law_is_found_again():
    n = np.array([20, 50, 100, 400, 1000])
    law = fit_power_law({int(one): [0.9 * one**-0.5 + 0.05] for one in n})
    assert (law.a, law.b, law.c) == pytest.approx((0.9, 0.5, 0.05), rel=1e-3)
    assert law.error(4000) == pytest.approx(0.9 * 4000**-0.5 + 0.05, rel=1e-3)
    assert law.interval(4000) is None  # one draw each says nothing about other draws


def test_the_interval_over_draws_covers_the_true_error_and_narrows_with_more_draws():
    def noisy(draws, seed):
        generator = np.random.default_rng(seed)
        return {n: 0.9 * n**-0.5 + 0.05 + 0.01 * generator.standard_normal(draws) for n in (20, 50, 100, 400)}

    truth, covered, widths = 0.9 * 100**-0.5 + 0.05, [], {2: [], 5: [], 40: []}
    for seed in range(12):
        for draws, found in widths.items():
            low, high = fit_power_law(noisy(draws, seed)).interval(100)
            found.append(high - low)
            covered.append(low <= truth <= high)
    assert np.reshape(covered, (12, 3)).sum(axis=0).min() >= 9
    assert np.mean(widths[40]) < 0.6 * np.mean(widths[5])


def test_two_numbers_of_labels_are_too_few():
    with pytest.raises(ValueError, match="2 numbers of labels: a power law needs at least 3"):
        fit_power_law({10: [0.5], 20: [0.4]})


def test_the_fit_is_at_least_as_close_as_scipys_search_within_the_bounds():
    generator, n = np.random.default_rng(0), np.array([20.0, 50, 100, 400, 1000])
    for case in range(6):
        truth = generator.uniform([0, 0, 0], [2, 1.5, 0.4])
        errors = _law(n, *truth)[:: -1 if case == 5 else 1] + 0.02 * generator.standard_normal(len(n))
        (found,) = _fit(n, errors[None])
        limits = ([0, 0, 0], [np.inf, 3, 1])
        other, _ = curve_fit(_law, n, errors, (0.5, 0.5, 0), bounds=limits, maxfev=5000)
        ours, theirs = (((_law(n, *one) - errors) ** 2).sum() for one in (found, other))
        assert ours <= theirs + 1e-9 and (found >= 0).all() and found[1] <= 3 and found[2] <= 1
