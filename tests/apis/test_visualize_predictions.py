"""The figure of a row's stored scores."""

import pytest
import torch

from ssl_ext.apis.figures import predictions_figure
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Predictions, ResultRow, Scored, calibration_error, write_results


def written(folder, task, scores, labels):
    classes = 2 if task == "binary" else scores.shape[1]
    scored = Scored(scores, scores, labels)
    (folder / "predictions").mkdir(exist_ok=True)
    made = Predictions.of(scored, scored, task=task, num_classes=classes)
    (folder / "predictions" / "a.npz").write_bytes(made.content())
    rows = [
        ResultRow("SimCLR", name, {"acc": 0.5}, {"acc": 0.75}, {}, {}, 0, predictions=path)
        for name, path in (("cluster", None), ("knn", "predictions/a.npz"))
    ]
    write_results(folder / "results.json", rows)
    return folder / "results.json"


@pytest.mark.parametrize("task", ["binary", "ordinal", "multi-label"])
def test_of_a_row(task, tmp_path):
    generator = torch.Generator().manual_seed(0)
    shape = (200, 1 if task == "binary" else 3)
    scores = torch.rand(shape, generator=generator)
    labels = torch.randint(0, 2, shape if task == "multi-label" else (200,), generator=generator)
    if task == "ordinal":
        scores = torch.softmax(4 * scores, dim=1)
    path = written(tmp_path, task, scores, labels)
    roc, _, reliability = predictions_figure(path, which="best").axes
    assert len(roc.get_lines()) == {"binary": 2, "ordinal": 3, "multi-label": 4}[task]
    named = roc.figure.legends[0].get_texts()[0].get_text()
    assert named.startswith("1: " if task == "binary" else "0: ")
    words = "SimCLR on unknown data, kNN, best epoch, seed 0: 75.00 % correct"
    assert roc.figure.get_suptitle() == words
    if task != "multi-label":
        error = calibration_error(scores, labels, task)
        if task == "binary":  # here of the predicted class, which is never below 0.5
            error = calibration_error(torch.cat([1 - scores, scores], dim=1), labels, "multi-class")
        assert float(reliability.get_lines()[-1].get_label().split()[1]) == pytest.approx(error, abs=2e-3)
    with pytest.raises(UserError, match="no measurements with scores of images with protocol=linear: Sim"):
        predictions_figure(path, where=["protocol=linear"])


def test_a_row_of_the_largest_scores_alone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_ext.evaluation.predictions.ALL_UP_TO", 100)
    scores, labels = torch.softmax(torch.randn(50, 25), dim=1), torch.arange(50) % 25
    path = written(tmp_path, "multi-class", scores, labels)
    with pytest.raises(UserError, match="holds only the largest scores of 25 classes"):
        predictions_figure(path)
