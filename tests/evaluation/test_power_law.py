"""Power laws of errors over numbers of labels."""

import numpy as np
import pytest

from ssl_ext.evaluation.power_law import fit_power_law


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

    truth, covered, widths = 0.9 * 100**-0.5 + 0.05, 0, {5: [], 40: []}
    for seed in range(12):
        for draws, found in widths.items():
            low, high = fit_power_law(noisy(draws, seed)).interval(100)
            found.append(high - low)
            covered += low <= truth <= high
    assert covered >= 18 and np.mean(widths[40]) < 0.6 * np.mean(widths[5])


def test_two_numbers_of_labels_are_too_few():
    with pytest.raises(ValueError, match="2 numbers of labels: a power law needs at least 3"):
        fit_power_law({10: [0.5], 20: [0.4]})
