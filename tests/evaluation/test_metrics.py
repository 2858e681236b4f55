import math

import numpy as np
import pytest
import torch
from medmnist.evaluator import getACC, getAUC
from sklearn.metrics import roc_auc_score

from ssl_ext.evaluation import accuracy, auc, calibration_error, evaluate_scores, top1

NAMES = {
    "multi-class": "multi-class",
    "ordinal": "ordinal-regression",
    "binary": "binary-class",
    "multi-label": "multi-label, binary-class",
}


def random_case(task, seed):
    generator = np.random.default_rng(seed)
    if task == "multi-label":
        return generator.random((80, 5)), generator.integers(0, 2, (80, 5))
    classes = 2 if task == "binary" else 4
    scores = generator.random((80, classes))
    return scores / scores.sum(1, keepdims=True), generator.integers(0, classes, 80)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", list(NAMES))
def test_equals_medmnist(task, seed):
    scores, labels = random_case(task, seed)
    theirs = labels if task == "multi-label" else labels[:, None]
    ours = evaluate_scores(torch.from_numpy(scores), torch.from_numpy(labels), task)
    assert ours["auc"] == pytest.approx(getAUC(theirs, scores, NAMES[task]), abs=1e-9)
    assert ours["acc"] == pytest.approx(getACC(theirs, scores, NAMES[task]), abs=1e-9)


def test_binary_takes_one_column_too():
    scores, labels = random_case("binary", 0)
    scores, labels = torch.from_numpy(scores), torch.from_numpy(labels)
    for shape in (scores[:, 1], scores[:, 1:]):
        assert auc(shape, labels, "binary") == auc(scores, labels, "binary")
        assert accuracy(shape, labels, "binary") == accuracy(scores, labels, "binary")


def test_auc_does_not_depend_on_the_scale_of_the_scores():
    scores, labels = random_case("multi-class", 1)
    scores, labels = torch.from_numpy(scores), torch.from_numpy(labels)
    assert auc(scores, labels) == pytest.approx(auc(torch.exp(3 * scores), labels), abs=1e-12)


def test_auc_leaves_out_an_absent_class():
    scores = torch.softmax(torch.randn(6, 3), dim=1)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    known = [roc_auc_score(labels == c, scores[:, c]) for c in (0, 1)]
    assert auc(scores, labels) == pytest.approx(np.mean(known))
    assert math.isnan(auc(scores, torch.zeros(6, dtype=torch.int64)))
    assert accuracy(scores, labels) == top1(scores, labels)


def test_bad_input():
    with pytest.raises(ValueError, match="task='regression'"):
        accuracy(torch.eye(2), torch.tensor([0, 1]), "regression")
    with pytest.raises(ValueError, match="3 labels for 2"):
        accuracy(torch.eye(2), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="0 labels"):
        auc(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))


def slow_confusion(guess, labels, classes):
    matrix = [[0] * classes for _ in range(classes)]
    for predicted, label in zip(guess, labels, strict=True):
        matrix[label][predicted] += 1
    return matrix


def slow_f1(matrix):
    """F1 per class in labels or predictions, from counts."""
    scores = []
    for c in range(len(matrix)):
        actual, predicted = sum(matrix[c]), sum(row[c] for row in matrix)
        if actual + predicted:
            scores.append(2 * matrix[c][c] / (actual + predicted))
    return scores


def slow_calibration(confidence, right, bins=15):
    """Σ_b |B_b| / n · |accuracy(B_b) − confidence(B_b)| (Guo et al., 2017, Eq. 3)."""
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            total += abs(right[inside].mean() - confidence[inside].mean()) * inside.mean()
    return total


@pytest.mark.parametrize("task", ["multi-class", "ordinal", "binary"])
def test_every_metric_equals_its_definition(task):
    scores, labels = random_case(task, 3)
    found = evaluate_scores(torch.from_numpy(scores), torch.from_numpy(labels), task)
    guess, classes = scores.argmax(1), scores.shape[1]
    matrix = slow_confusion(guess, labels, classes)
    assert found["confusion"] == matrix
    recalls = [matrix[c][c] / sum(matrix[c]) for c in range(classes)]
    assert found["balanced_acc"] == pytest.approx(sum(recalls) / classes)
    assert found["f1"] == pytest.approx(sum(slow_f1(matrix)) / classes)
    assert found["ece"] == pytest.approx(slow_calibration(scores.max(1), guess == labels), abs=1e-6)
    assert "top5" not in found


def test_several_labels_are_binary_tasks_that_are_averaged():
    scores, labels = random_case("multi-label", 3)
    found = evaluate_scores(torch.from_numpy(scores), torch.from_numpy(labels), "multi-label")
    single = [
        evaluate_scores(torch.from_numpy(scores[:, c]), torch.from_numpy(labels[:, c]), "binary")
        for c in range(scores.shape[1])
    ]
    for name in ("acc", "auc", "balanced_acc", "ece"):
        assert found[name] == pytest.approx(np.mean([metrics[name] for metrics in single]))
    positive = [slow_f1(metrics["confusion"])[1] for metrics in single]
    assert found["f1"] == pytest.approx(np.mean(positive))
    assert "confusion" not in found


def test_top5_from_20_classes_on():
    generator = np.random.default_rng(0)
    for classes in (19, 20):
        scores, labels = generator.random((200, classes)), generator.integers(0, classes, 200)
        scores /= scores.sum(1, keepdims=True)
        found = evaluate_scores(torch.from_numpy(scores), torch.from_numpy(labels), "multi-class")
        if classes == 19:
            assert "top5" not in found
            continue
        five_best = np.argsort(-scores, axis=1)[:, :5]
        assert found["top5"] == pytest.approx(
            np.mean([y in row for y, row in zip(labels, five_best, strict=True)])
        )


def test_many_classes_keep_no_confusion_matrix():
    scores = torch.softmax(torch.randn(30, 101), dim=1)
    found = evaluate_scores(scores, torch.arange(30), "multi-class")
    assert "confusion" not in found
    assert 0 <= found["top5"] <= 1


def test_one_class_only():
    ones = torch.ones(7, 1)
    found = evaluate_scores(ones, torch.zeros(7, dtype=torch.int64), "multi-class")
    assert math.isnan(found.pop("auc")) and math.isnan(found.pop("auprc"))
    assert found == {"acc": 1, "balanced_acc": 1, "f1": 1, "ece": 0, "confusion": [[7]]}
    scores = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
    found = evaluate_scores(scores, torch.tensor([0, 0]), "multi-class")
    assert (found["acc"], found["balanced_acc"]) == (0.5, 0.5)
    assert found["f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["confusion"] == [[1, 1], [0, 0]]


def test_absent_classes_do_not_lower_balanced_accuracy():
    scores = torch.eye(4)[[0, 1, 1, 3]]
    found = evaluate_scores(scores, torch.tensor([0, 1, 1, 1]), "multi-class")
    assert found["balanced_acc"] == pytest.approx((1 + 2 / 3) / 2)


def test_calibration_bounds_rounding_and_logits():
    certain = torch.eye(3)[[0, 1, 2]] * (1 + 1e-6)
    assert calibration_error(certain, torch.tensor([0, 1, 2])) == 0
    assert calibration_error(certain, torch.tensor([1, 2, 0])) == 1
    for scores in (torch.tensor([[-2.0, 3.0]]), torch.tensor([[float("nan"), 0.5]])):
        with pytest.raises(ValueError, match="probabilities"):
            calibration_error(scores, torch.tensor([0]))
