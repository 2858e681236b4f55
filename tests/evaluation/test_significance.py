"""Tests of differences equal SciPy, slow loops and closed forms."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ssl_ext.evaluation import ResultRow
from ssl_ext.evaluation.identity import shared_repeats
from ssl_ext.evaluation.significance import (
    delong,
    holm,
    mcnemar,
    over_seeds,
    paired_t,
    seed_difference,
    seeds_needed,
)


def correlated(seed, count=60, rounded=1):
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    first = rng.normal(size=count) + positive
    second = (first + rng.normal(size=count)).round(rounded)
    return first.round(rounded), second, positive


def slow_delong(scores, positive):
    """Areas and covariance of DeLong et al., 1988, Eq. 3 to 6, by all pairs."""
    ones, others = np.flatnonzero(positive), np.flatnonzero(~positive)

    def kernel(score, i, j):
        return float(score[i] > score[j]) + 0.5 * float(score[i] == score[j])

    v10 = np.array([[np.mean([kernel(s, i, j) for j in others]) for i in ones] for s in scores])
    v01 = np.array([[np.mean([kernel(s, i, j) for i in ones]) for j in others] for s in scores])
    return v10.mean(axis=1), np.cov(v10) / len(ones) + np.cov(v01) / len(others)


@pytest.mark.parametrize("seed", range(5))
def test_delong_equals_all_pairs_with_ties(seed):
    first, second, positive = correlated(seed)
    areas, covariance = slow_delong((first, second), positive)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    found = delong(first[:, None], second[:, None], positive[:, None])
    assert (found.first, found.second) == pytest.approx(areas, abs=1e-12)
    assert found.first == pytest.approx(roc_auc_score(positive, first), abs=1e-12)
    assert (found.ends[1] - found.ends[0]) / 2 == pytest.approx(1.959963984540054 * variance**0.5, abs=1e-12)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(areas[0] - areas[1]) / variance**0.5), abs=1e-12)


def test_delong_of_two_classes_is_that_of_one_and_of_three_their_mean():
    first, second, positive = correlated(0)
    one = delong(first[:, None], second[:, None], positive[:, None])
    both = [np.stack([-score, score], axis=1) for score in (first, second)]
    two = delong(*both, np.stack([~positive, positive], axis=1))
    assert (*two[:3], *two.ends, two.p) == pytest.approx((*one[:3], *one.ends, one.p), abs=1e-12)
    labels = np.arange(90) % 3
    scores = np.random.default_rng(1).normal(size=(2, 90, 3)) + np.eye(3)[labels]
    found = delong(*scores, labels[:, None] == np.arange(3))
    areas = [roc_auc_score(labels == c, scores[0, :, c]) for c in range(3)]
    assert found.first == pytest.approx(np.mean(areas), abs=1e-12)


def test_delong_of_several_classes_has_the_size_of_its_test():
    """Under equal models 5 % of p-values are below 5 %."""
    rng, low = np.random.default_rng(2), 0
    labels = np.arange(90) % 3
    for _ in range(200):
        common = rng.normal(size=(90, 3)) + np.eye(3)[labels]
        scores = common + 0.7 * rng.normal(size=(2, 90, 3))
        low += delong(*scores, labels[:, None] == np.arange(3)).p < 0.05
    assert stats.binomtest(low, 200, 0.05).pvalue > 0.01


def test_delong_needs_two_images_of_each_class_and_equal_scores_do_not_differ():
    assert delong(np.ones((3, 1)), np.ones((3, 1)), np.array([[True], [False], [False]])) is None
    first, _, positive = correlated(0)
    assert delong(first[:, None], first[:, None], positive[:, None])[2:] == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("only", [(3, 9), (0, 6), (5, 5)])
def test_mcnemar_is_the_exact_binomial_test(only):
    first = np.array([1] * only[0] + [0] * only[1] + [1, 0, 1]) > 0
    second = np.array([0] * only[0] + [1] * only[1] + [1, 0, 1]) > 0
    count = sum(only)
    tail = sum(math.comb(count, k) for k in range(min(only) + 1)) / 2**count
    assert mcnemar(first, second) == (*only, pytest.approx(min(1.0, 2 * tail), abs=1e-9))
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_holm_by_its_definition():
    p = [0.01, 0.2, 0.011, 0.04]
    expected = [0.04, 0.2, 0.04, 0.08]
    for order in itertools.permutations(range(4)):
        assert holm([p[i] for i in order]) == pytest.approx([expected[i] for i in order])
    assert holm([]) == []
    # NaN is no test: the others are corrected as without it.
    found = holm([0.04, math.nan, 0.01])
    assert found[::2] == pytest.approx([0.04, 0.02]) and math.isnan(found[1])
    assert paired_t([*range(5), math.nan], [0.5] * 6) is None


def test_seeds_are_compared_as_by_scipy():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.5, 1, 7), rng.normal(0, 1, 7)
    found = seed_difference(first, second)
    assert found.t_p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-9)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(first, second).pvalue, abs=1e-9)
    ends = stats.ttest_1samp(first - second, 0).confidence_interval(0.95)
    assert found.ends == pytest.approx((ends.low, ends.high), abs=1e-9)
    assert found.mean == pytest.approx(np.mean(first - second))


def test_few_seeds_have_no_test():
    values = np.array([0.3, 0.5, 0.1, 0.4, 0.2, 0.6])
    made = [seed_difference(values[:n] + 0.1, values[n - 1 :: -1]) for n in range(1, 7)]
    assert [one.t_p is not None for one in made] == [False] * 4 + [True] * 2
    assert [one.wilcoxon_p is not None for one in made] == [False] * 5 + [True]
    assert made[0].ends is None and made[0].more_seeds is None
    assert seed_difference([1.0] * 6, [1.0] * 6)[3:] == (1.0, 1.0, None)
    assert seed_difference([2.0] * 6, [1.0] * 6)[3:5] == (0.0, pytest.approx(2 / 2**6))


@pytest.mark.parametrize("effect", [0.3, 0.5, 1.0])
def test_the_seeds_needed_find_the_difference_in_four_of_five_cases(effect):
    n = seeds_needed(effect, 1.0)
    differences = np.random.default_rng(4).normal(effect, 1.0, (4000, n))
    assert np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05) == pytest.approx(0.82, abs=0.05)
    assert seeds_needed(0.0, 1.0) is None and seeds_needed(1e-3, 1.0) is None


def test_methods_are_paired_by_pretraining_seed_over_shared_repeats():
    def row(pretraining, acc, seed=0, **source):
        source = {"checkpoint": {"sha256": "a"}, "pretraining": {"seed": pretraining}, **source}
        return ResultRow("a", "linear", {"acc": acc}, {}, {}, {}, seed, source=source)

    first = [row(0, 0.5), row(0, 0.7, 1), row(1, 0.6), row(3, 0.1)]
    second = [row(1, 0.2), row(0, 0.4), row(0, 0.9, 2), row(2, 0.3), row(None, 1.0)]
    first[2].settings["seed_matters"] = False
    assert over_seeds(first, second, "acc", "last") == ([0.5, 0.6], [0.4, 0.2])


def test_a_seed_without_effect_is_one_repeat():
    first, second = ([ResultRow("a", "knn", {}, {}, {}, {}, seed) for seed in range(3)] for _ in "ab")
    assert len(shared_repeats(first, second)) == 3
    for row in first:
        row.settings = {"seed_matters": False}
    assert len(shared_repeats(first, second)) == 3  # networks of the other side differ
    for row in second:
        row.settings = {"seed_matters": False}
    assert shared_repeats(first, second) == [(first[0], second[0])]
