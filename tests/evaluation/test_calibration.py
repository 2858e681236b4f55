"""Temperature, entropy and distances against scipy, loops and known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2
from torch.nn.functional import binary_cross_entropy, nll_loss

from ssl_ext.evaluation import Predictions, Scored
from ssl_ext.evaluation.calibration import (
    LIMITS,
    entropy,
    feature_distance,
    fit_temperature,
    tempered,
    validation_temperature,
)
from ssl_ext.evaluation.metrics import predicted_classes
from ssl_ext.evaluation.tasks import probabilities

WIDTHS = {"multi-class": 4, "ordinal": 3, "binary": 1, "multi-label": 5}


def sampled(task, count=3000, sharpness=3.0, seed=0):
    """Labels drawn from probabilities, and probabilities of ``sharpness`` times their logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, WIDTHS[task], generator=generator)
    true = probabilities(logits, task)
    if task in ("binary", "multi-label"):
        labels = torch.bernoulli(true, generator=generator).long()
        labels = labels[:, 0] if task == "binary" else labels
    else:
        labels = torch.multinomial(true, 1, generator=generator)[:, 0]
    return probabilities(sharpness * logits, task), labels


def loss_of(scores, labels, task):
    def loss(temperature):
        own = tempered(scores, temperature, task)
        if task in ("binary", "multi-label"):
            return binary_cross_entropy(own, labels.view_as(own).double()).item()
        return nll_loss(own.log(), labels).item()

    return loss


@pytest.mark.parametrize("task", WIDTHS)
def test_the_temperature_is_the_end_nearest_to_1_of_the_interval_of_the_best(task):
    scores, labels = sampled(task)
    loss = loss_of(scores, labels, task)
    best = minimize_scalar(loss, bounds=(0.5, 10), method="bounded", options=dict(xatol=1e-9))
    for units in (3000, 30_000_000):
        found = fit_temperature(scores, labels, task, units=units)
        end = brentq(lambda one, n=units: 2 * n * (loss(one) - best.fun) - chi2.ppf(0.95, 1), 1, best.x)
        assert found == pytest.approx(end, rel=1e-4)
    assert found == pytest.approx(best.x, rel=2e-3) and found == pytest.approx(3, rel=0.1)
    assert fit_temperature(scores, labels, task, units=1) == 1


def test_ten_images_do_not_make_calibration_worse():
    """The cross-entropy of all images rises in about 5 % of the samples if calibrated, and else falls."""
    for sharpness, worse, better in ((1.0, 0.1, 0.0), (4.0, 0.0, 0.7)):
        every = sampled("multi-class", 4000, sharpness)
        loss = loss_of(*every, "multi-class")
        changes = []
        for seed in range(50):
            chosen = torch.randperm(4000, generator=torch.Generator().manual_seed(seed))[:10]
            found = fit_temperature(*(part[chosen] for part in every), "multi-class")
            changes.append(loss(found) - loss(1.0))
        changes = np.array(changes)
        assert (changes > 0).mean() <= worse, sharpness
        assert (changes < 0).mean() >= better, sharpness
        assert changes.mean() < 2e-3, sharpness


@pytest.mark.parametrize("task", WIDTHS)
def test_no_temperature_changes_a_decision(task):
    scores, labels = sampled(task, sharpness=8.0)
    scores[:5] = probabilities(torch.full_like(scores[:5], 300.0) * torch.randn(scores[:5].shape), task)
    before = predicted_classes(scores.numpy(), task)
    for temperature in (*LIMITS, 0.3, 1.0, 4.0, fit_temperature(scores, labels, task)):
        after = predicted_classes(tempered(scores, temperature, task).numpy(), task)
        assert np.array_equal(before, after), temperature


def test_ten_images_without_a_mistake_do_not_make_certain_probabilities():
    scores, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).repeat(5, 1), torch.tensor([0, 1]).repeat(5)
    assert fit_temperature(scores, labels, "multi-class") == 1
    unsure = tempered(scores, 3.0, "multi-class")
    found = fit_temperature(unsure, labels, "multi-class")
    # All ten right has a probability of at least exp(-1.92) at the ends of the interval.
    right = tempered(unsure, found, "multi-class").amax(dim=1)
    assert found < 1 and right.log().sum().item() == pytest.approx(-chi2.ppf(0.95, 1) / 2, rel=1e-3)
    assert fit_temperature(scores, 1 - labels, "multi-class") > 1
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert LIMITS[0] < fit_temperature(certain, torch.tensor([0, 1]), "multi-class") == 1


def test_the_sentence_names_the_images_and_their_groups():
    scores, labels = sampled("multi-class", 200)
    scored = Scored(scores, scores, labels)
    found = Predictions.of(scored, scored, task="multi-class", num_classes=4)
    value, words = validation_temperature(found, "last")
    assert value > 1.5 and words.startswith(f"Temperature {value:.3g}: ") and "on 200 validation" in words
    value, words = validation_temperature(replace(found, val_groups=2), "best")
    assert value == 1 and "200 validation images of 2 patients or groups show no better" in words


def test_entropy_of_several_labels_is_their_mean():
    scores = torch.tensor([[0.5, 1.0], [0.0, 0.25]], dtype=torch.float64)
    of = -np.array([0.25, 0.75]) @ np.log([0.25, 0.75])
    assert entropy(scores, "multi-label").tolist() == pytest.approx([np.log(2) / 2, of / 2])
    assert entropy(scores[:1, :1], "binary").tolist() == pytest.approx([np.log(2)])


@pytest.mark.parametrize("size", [4, 30])
def test_distances_equal_a_loop(size):
    bank, features = torch.randn(size, 6), torch.randn(9, 6)
    own = [one / one.norm() for one in bank]
    expected = [
        sorted((one / one.norm() - other).norm().item() for other in own)[min(10, size) - 1]
        for one in features
    ]
    found = feature_distance(features, bank, chunk=4)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
