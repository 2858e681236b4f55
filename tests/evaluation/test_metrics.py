import math

import numpy as np
import pytest
import torch
from medmnist.evaluator import getACC, getAUC

from ssl_ext.evaluation import accuracy, auc, evaluate_scores, top1

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


def test_auc_of_an_absent_class_is_nan_and_accuracy_is_not():
    scores = torch.softmax(torch.randn(6, 3), dim=1)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    assert math.isnan(auc(scores, labels))
    assert accuracy(scores, labels) == top1(scores, labels)


def test_bad_input():
    with pytest.raises(ValueError, match="task='regression'"):
        accuracy(torch.eye(2), torch.tensor([0, 1]), "regression")
    with pytest.raises(ValueError, match="3 labels for 2"):
        accuracy(torch.eye(2), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="0 labels"):
        auc(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
