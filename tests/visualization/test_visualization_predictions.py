"""ROC, precision-recall and reliability show the scores."""

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from ssl_ext.visualization import prediction_panels


def table(classes, count=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    scores = rng.random((count, classes)) + np.eye(classes)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    return scores, labels[:, None] == np.arange(classes), scores.max(axis=1), scores.argmax(axis=1) == labels


def test_curves_enclose_the_areas_that_they_are_named_after():
    scores, positive, confidence, right = table(3)
    names = ["a", "b", "c"]
    figure = prediction_panels(scores, positive, names, confidence=confidence, right=right, title="kNN")
    roc, recall, reliability = figure.axes
    for c, name in enumerate(names):
        line, steps = roc.get_lines()[c], recall.get_lines()[c]
        area = roc_auc_score(positive[:, c], scores[:, c])
        assert auc(*line.get_xydata().T / 100) == pytest.approx(area)
        words = f"{name}: AUC {area:.3f}, AUPRC"
        x, y = steps.get_xydata().T / 100
        area = average_precision_score(positive[:, c], scores[:, c])
        assert -(np.diff(x) * y[:-1]).sum() == pytest.approx(area)
        assert figure.legends[0].get_texts()[c].get_text() == f"{words} {area:.3f}"
    diagram = reliability.get_lines()[-1]
    inside = (confidence > 7 / 15) & (confidence <= 8 / 15)
    point = diagram.get_xydata()[np.argmin(abs(diagram.get_xdata() - 50))]
    assert point == pytest.approx([100 * confidence[inside].mean(), 100 * right[inside].mean()])
    assert sum(bar.get_height() for bar in reliability.patches) == pytest.approx(100)


def test_many_classes_have_thin_lines_without_names():
    scores, positive, confidence, right = table(12)
    figure = prediction_panels(scores, positive, [""] * 12, confidence=confidence, right=right)
    roc = figure.axes[0]
    assert not figure.legends and len(roc.get_lines()) == 13


def test_classes_without_images_have_no_curve():
    scores, positive, confidence, right = table(3)
    positive[:, 1] = False
    roc, *_ = prediction_panels(scores, positive, list("abc"), confidence=confidence, right=right).axes
    assert len(roc.get_lines()) == 3
    with pytest.raises(ValueError, match="curves need images of a class, and others"):
        prediction_panels(scores[:, 1:2], positive[:, 1:2], ["b"], confidence=confidence, right=right)
