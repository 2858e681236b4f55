"""Metrics of weighted images equal scikit-learn's, and bootstrap intervals cover as often as they claim."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ssl_ext.evaluation import evaluate_scores
from ssl_ext.evaluation.bootstrap import bootstrap, interval, resamplings, share_interval
from ssl_ext.evaluation.predictions import Part, Predictions, Scored
from ssl_ext.evaluation.weighted import Weighted

TASKS = ["multi-class", "ordinal", "binary", "multi-label"]


def table(task, count=120, classes=4, seed=0):
    """Scores with ties, and labels."""
    generator = torch.Generator().manual_seed(seed)
    if task == "multi-label":
        labels = (torch.rand(count, classes, generator=generator) < 0.4).long()
        return torch.rand(count, classes, generator=generator).add(labels).div(2).mul(20).round().div(
            20
        ), labels
    if task == "binary":
        labels = (torch.rand(count, generator=generator) < 0.4).long()
        return torch.rand(count, 1, generator=generator).add(labels[:, None]).div(2).mul(20).round().div(
            20
        ), labels
    labels = torch.randint(0, classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator).add(1.5 * torch.eye(classes)[labels])
    return torch.softmax(logits.round(), dim=1), labels


def weighted(task, **options):
    scores, labels = table(task, **options)
    classes = 2 if task == "binary" else scores.shape[1]
    scored = Scored(scores, scores, labels)
    return Predictions.of(scored, scored, task=task, num_classes=classes).weighted("last")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("classes", [4, 25])
def test_equal_weights_give_the_metrics_of_the_result_files(task, classes):
    scores, labels = table(task, 600, classes)
    expected = evaluate_scores(scores, labels, task)
    found = weighted(task, count=600, classes=classes).metrics(np.ones((600, 1), np.float32))
    assert set(found) == set(expected) - {"ece", "confusion", "multilabel_confusion"}
    assert ("kappa" in found) == (task == "ordinal")
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {name: expected[name] for name in found}, abs=1e-9
    )


@pytest.mark.parametrize("task", ["ordinal", "binary"])
def test_weights_are_repetitions_for_scikit_learn(task):
    one = weighted(task)
    weights = np.random.default_rng(0).integers(0, 4, (120, 3)).astype(np.float32)
    found, counts = one.metrics(weights), one.counts(weights)
    for column, times in enumerate(weights.T.astype(int)):
        rows = np.repeat(np.arange(120), times)
        y, guess, scores = one.labels[rows], one.predicted[rows], one.scores[rows]
        assert found["acc"][column] == pytest.approx(accuracy_score(y, guess), abs=1e-9)
        assert found["balanced_acc"][column] == pytest.approx(balanced_accuracy_score(y, guess), abs=1e-9)
        assert found["f1"][column] == pytest.approx(f1_score(y, guess, average="macro"), abs=1e-9)
        if task == "ordinal":
            kappa = cohen_kappa_score(y, guess, weights="quadratic")
            assert found["kappa"][column] == pytest.approx(kappa, abs=1e-9)
        classes = [1] if task == "binary" else range(4)
        pairs = list(zip(classes, scores.T, strict=True))
        areas = [roc_auc_score(y == c, s) for c, s in pairs]
        precisions = [average_precision_score(y == c, s) for c, s in pairs]
        assert found["auc"][column] == pytest.approx(np.mean(areas), abs=1e-9)
        assert found["auprc"][column] == pytest.approx(np.mean(precisions), abs=1e-9)
        for c in range(one.num_classes):
            truth, own = y == c, guess == c
            assert counts.sensitivity[c, column] == pytest.approx(recall_score(truth, own), abs=1e-9)
            assert counts.specificity[c, column] == pytest.approx(recall_score(~truth, ~own), abs=1e-9)
            assert counts.ppv[c, column] == pytest.approx(precision_score(truth, own), abs=1e-9)


def test_a_class_without_weight_is_left_out():
    one = weighted("multi-class")
    weights = np.stack([one.labels != 0, one.labels == 0], axis=1).astype(np.float32)
    found = one.metrics(weights)
    recalls = [np.mean(one.predicted[one.labels == c] == c) for c in range(4)]
    assert found["balanced_acc"] == pytest.approx([np.mean(recalls[1:]), recalls[0]])
    assert np.isnan(found["auc"][1]) and np.isnan(one.counts(weights).sensitivity[0, 0])


def test_groups_are_resampled_as_a_whole():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    draws = np.concatenate(list(resamplings(6, groups, replicates=50)), axis=1)
    assert draws.shape == (6, 50)
    for name in "abc":
        assert (np.ptp(draws[groups == name], axis=0) == 0).all()
    drawn = sum(draws[np.flatnonzero(groups == name)[0]] for name in "abc")
    assert (drawn == 3).all()
    again = np.concatenate(list(resamplings(6, groups, replicates=50)), axis=1)
    assert (again == draws).all()
    single = np.concatenate(list(resamplings(6, replicates=2000, seed=1)), axis=1)
    assert (single.sum(axis=0) == 6).all()
    assert single.var() == pytest.approx(5 / 6, rel=0.05)


COUNT, TABLES = 100, 1000


def covered(values, truth, number):
    """Share of rows of bootstrap values (tables, replicates) whose interval holds the truth."""
    ends = [interval(row, number) for row in values]
    return np.mean([low <= truth <= high for low, high in ends])


def test_intervals_of_an_accuracy_cover():
    right = (np.random.default_rng(0).random((TABLES, COUNT)) < 0.8).astype(np.float32)
    values = bootstrap(lambda w: {"acc": right @ w / w.sum(axis=0)}, COUNT)["acc"]
    assert 0.93 <= covered(values, 0.8, COUNT) <= 0.97


def test_intervals_of_an_area_under_the_curve_cover():
    rng = np.random.default_rng(1)
    labels = (np.arange(COUNT) < 40).astype(int)
    scores = (rng.normal(size=(TABLES, COUNT)) + labels).astype(np.float32)
    weights = np.concatenate(list(resamplings(COUNT, replicates=400)), axis=1)
    tables = [Weighted(labels, labels, "binary", 2, row[:, None]) for row in scores]
    values = np.stack([one.areas(0, weights)[0] for one in tables])
    assert 0.93 <= covered(values, stats.norm.cdf(1 / np.sqrt(2)), COUNT) <= 0.97


def test_intervals_over_groups_cover_correlated_images_and_those_over_images_do_not():
    """25 patients with four images each, of which each patient's are alike."""
    rng = np.random.default_rng(2)
    easy = rng.beta(1.6, 0.4, (TABLES, 25))  # of a patient's images; mean 0.8
    right = (rng.random((TABLES, 25, 4)) < easy[:, :, None]).reshape(TABLES, 100).astype(np.float32)
    groups = np.repeat(np.arange(25), 4)

    def shares(w):
        return {"acc": right @ w / w.sum(axis=0)}

    over_images, over_groups = bootstrap(shares, 100)["acc"], bootstrap(shares, 100, groups)["acc"]
    assert 0.93 <= covered(over_groups, 0.8, 25) <= 0.97
    assert covered(over_images, 0.8, 100) < 0.85
    assert (over_groups.std(axis=1) > over_images.std(axis=1)).mean() > 0.95


def test_what_no_resampling_varies_has_no_interval_or_the_exact_one():
    scores, labels = torch.eye(3)[torch.arange(60) % 3], torch.arange(60) % 3
    scored = Scored(scores, scores, labels)
    found = Predictions.of(scored, scored, task="multi-class", num_classes=3).intervals("last")
    assert found == {"acc": (pytest.approx(0.025 ** (1 / 60)), 1.0)}
    assert share_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert interval(np.array([0.1, np.nan, np.nan]), 10) is None
    assert interval(np.array([0.1, 0.2]), 1) is None


def test_large_tables_keep_the_largest_scores(monkeypatch):
    monkeypatch.setattr("ssl_ext.evaluation.predictions.ALL_UP_TO", 1000)
    scores, labels = table("multi-class", 100, 25)
    part = Part.of(scores, "multi-class")
    assert part.values.shape == part.classes.shape == (100, 10)
    assert (part.predicted == scores.argmax(dim=1).numpy()).all()
    assert part.in_top5(labels.numpy()).mean() == pytest.approx(
        evaluate_scores(scores, labels, "multi-class")["top5"]
    )
    scored = Scored(scores, scores, labels)
    found = Predictions.of(scored, scored, task="multi-class", num_classes=25).intervals("last")
    assert set(found) == {"acc", "balanced_acc", "f1", "top5"}
