"""Temperature, entropy and distances against scipy, loops and known answers."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import binary_cross_entropy, nll_loss

from ssl_ext.evaluation.calibration import LIMITS, entropy, feature_distance, fit_temperature, tempered
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


@pytest.mark.parametrize("task", WIDTHS)
def test_the_temperature_minimises_the_cross_entropy_and_is_found_again(task):
    scores, labels = sampled(task)

    def loss(temperature):
        own = tempered(scores, temperature, task)
        if task in ("binary", "multi-label"):
            return binary_cross_entropy(own, labels.view_as(own).double()).item()
        return nll_loss(own.log(), labels).item()

    found = fit_temperature(scores, labels, task)
    best = minimize_scalar(loss, bounds=(0.5, 10), method="bounded", options=dict(xatol=1e-9))
    assert found == pytest.approx(best.x, rel=1e-5)
    assert found == pytest.approx(3, rel=0.1)
    assert loss(found) < loss(1.0)


@pytest.mark.parametrize("task", WIDTHS)
def test_no_temperature_changes_a_decision(task):
    scores, labels = sampled(task, sharpness=8.0)
    scores[:5] = probabilities(torch.full_like(scores[:5], 300.0) * torch.randn(scores[:5].shape), task)
    before = predicted_classes(scores.numpy(), task)
    for temperature in (*LIMITS, 0.3, 1.0, 4.0, fit_temperature(scores, labels, task)):
        after = predicted_classes(tempered(scores, temperature, task).numpy(), task)
        assert np.array_equal(before, after), temperature


def test_a_classifier_without_mistakes_has_the_lowest_temperature():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(scores, torch.tensor([0, 1]), "multi-class") == pytest.approx(LIMITS[0])
    assert fit_temperature(scores, torch.tensor([1, 0]), "multi-class") == pytest.approx(LIMITS[1])


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
