"""Confusion matrices from results and from checkpoints."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from ssl_ext.apis.figures.confusion import confusion_figure
from ssl_ext.apis.report.comparison import NamedRow, compare
from ssl_ext.apis.report.page import matrix_table, render_page
from ssl_ext.config.networks import random_network
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, knn_classify, write_results
from ssl_ext.models.evaluated import EvaluatedModel


def shares(figure):
    return np.ma.filled(figure.axes[0].get_images()[0].get_array(), np.nan) / 100


def title(figure):
    return " ".join(figure.get_suptitle().split())


def row(protocol, matrix, source=None, method="SimCLR", seed=0, **more):
    last = {"acc": np.trace(matrix) / np.sum(matrix), "confusion": matrix} if matrix else {"acc": 0.5}
    best = {"acc": 1.0, "confusion": [[1, 0], [0, 1]]}
    source = {"dataset": {"type": "MedMNIST", "name": "breastmnist"}, **(source or {})}
    return ResultRow(method, protocol, last, best, settings={}, sizes={}, seed=seed, source=source, **more)


@pytest.fixture
def results(tmp_path):
    def function(*rows):
        write_results(tmp_path / "results.json", rows)
        return [tmp_path / "results.json"]

    return function


def test_of_a_row(results):
    classes = {"classes": ["benign", "malignant"]}
    path = results(
        row("cluster", None), row("knn", [[1, 1], [0, 2]], classes), row("linear", [[0, 2], [1, 1]])
    )
    first, linear = confusion_figure(path, protocol="knn"), confusion_figure(path, where=["protocol=linear"])
    np.testing.assert_array_equal(shares(first), [[0.5, 0.5], [0, 1]])
    assert title(first) == "SimCLR on breastmnist, kNN last epoch, seed 0: 75.00 % correct"
    assert [tick.get_text() for tick in first.axes[0].get_yticklabels()] == classes["classes"]
    np.testing.assert_array_equal(shares(linear), [[0, 1], [0.5, 0.5]])
    assert [tick.get_text() for tick in linear.axes[0].get_yticklabels()] == ["0", "1"]
    best = confusion_figure(path, which="best", protocol="knn")
    np.testing.assert_array_equal(shares(best), np.eye(2))
    assert "best epoch" in title(best)
    with pytest.raises(UserError, match="no confusion matrices with protocol=cluster: SimCLR on breast"):
        confusion_figure(path, protocol="cluster")
    with pytest.raises(UserError, match="--cfg-options apply to"):
        confusion_figure(path, options={"a": 1})
    with pytest.raises(UserError, match="Give a results.json, or"):
        confusion_figure(path * 3)
    with pytest.raises(UserError, match="no confusion matrices: none at all"):
        confusion_figure(results(row("cluster", None)))


def test_seeds_and_draws_are_summed(results):
    matrices = [[[4, 0], [0, 4]], [[2, 2], [1, 3]], [[1, 3], [4, 0]]]
    path = results(
        *(
            row("linear", matrix, seed=seed, labels_per_class=10, draw=0)
            for seed, matrix in enumerate(matrices)
        ),
        row("linear", [[4, 0], [0, 4]]),
    )
    figure = confusion_figure(path, where=["labels_per_class=10"])
    np.testing.assert_allclose(shares(figure), np.sum(matrices, axis=0) / 12)
    assert title(figure) == (
        "SimCLR on breastmnist, linear, 10 labels/class "
        "last epoch, sum over 3 probe seeds: 58.33 ± 43.90 % correct"
    )
    np.testing.assert_allclose(
        shares(confusion_figure(path, where=["draw=0"], seed=1)), [[0.5, 0.5], [0.25, 0.75]]
    )
    every = confusion_figure(path, where=["labels_per_class=None"])
    assert title(every).startswith("SimCLR on breastmnist, linear, all labels ")
    with pytest.raises(UserError, match="no confusion matrices with seed=3"):
        confusion_figure(path, seed=3)


def test_labels_of_an_image_have_a_row_each(results):
    matrices = [[[5, 1], [1, 3]], [[9, 0], [1, 0]]]
    metrics = {"acc": 0.85, "multilabel_confusion": matrices}
    rows = [
        ResultRow("SimCLR", "knn", metrics, metrics, {}, {}, seed, source={"classes": ["mass", "edema"]})
        for seed in range(2)
    ]
    figure = confusion_figure(results(*rows))
    np.testing.assert_allclose(shares(figure), [[0.75, 0.25, 1 / 6, 5 / 6], [0, 1, 0, 1]])
    assert figure.axes[0].texts[0].get_text() == "6 (75 %)"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["mass", "edema"]
    assert title(figure).endswith("85.00 ± 0.00 % of labels correct")
    comparison, *_ = compare([NamedRow("SimCLR", row) for row in rows])
    table = matrix_table(comparison, comparison.lines[0], comparison.lines[0].confusion)
    assert [[cell["count"] for cell in own] for own in table["rows"]] == [[6, 2, 2, 10], [0, 2, 0, 18]]
    assert [cell["share"] for cell in table["rows"][0]] == [0.75, 0.25, 0.167, 0.833]
    page = render_page([comparison], ["acc"], which="last", sources=[{"path": "a"}])
    assert '<th scope="col">FN</th><th scope="col">FP</th>' in page and "TP and FN: images with" in page
    rows[0].last = {**metrics, "multilabel_confusion": [[[1]]]}
    with pytest.raises(UserError, match="a label's confusion matrix of row 1 is not 2 × 2"):
        confusion_figure(results(*rows))


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (dict(method="BYOL"), "method=BYOL"),
        (dict(labels_per_class=5), "labels_per_class=5"),
        (dict(budget=100, mode="unfrozen"), "mode=unfrozen"),
        (dict(fraction=0.1), "fraction=0.1"),
        (dict(target="pathmnist"), "target=pathmnist"),
        (dict(source={"network": {"depth": 50}}), "method=SimCLR (2)"),
        (dict(source={"checkpoint": {"sha256": "other"}}), "method=SimCLR (2)"),
    ],
)
def test_several_measurements_are_refused_with_the_choices(results, other, where):
    path = results(row("linear", [[4, 0], [0, 4]]), row("linear", [[0, 4], [4, 0]], **other))
    with pytest.raises(UserError, match="2 confusion matrices: .* on .*; .*Choose one by --where KEY=VALUE"):
        confusion_figure(path)
    np.testing.assert_array_equal(shares(confusion_figure(path, where=[where])), 1 - np.eye(2))
    if "(2)" in where:  # the name that both have does not choose
        with pytest.raises(UserError, match="2 confusion matrices with method=SimCLR: "):
            confusion_figure(path, where=["method=SimCLR"])
        first = confusion_figure(path, where=["method=SimCLR (1)"])
        np.testing.assert_array_equal(shares(first), np.eye(2))


@pytest.mark.parametrize("where", ["depth=18", "method", "=SimCLR", "last=1"])
def test_unknown_selectors_are_refused(results, where):
    with pytest.raises(UserError, match="give KEY=VALUE with a KEY of method, protocol, labels_per_class"):
        confusion_figure(results(row("knn", [[1, 0], [0, 1]])), where=[where])


def test_of_a_checkpoint(tiny_config, tmp_path):
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))
    checkpoint = tmp_path / "epoch_2.pth"
    torch.save({"state_dict": network.state_dict()}, checkpoint)
    figure = confusion_figure([tiny_config, checkpoint], options={"evaluation.knn.k": 5})
    train, test = (Digits(split, image_size=8) for split in ("train", "test"))
    with torch.no_grad():
        bank, queries = (EvaluatedModel(network).embed(data.images) for data in (train, test))
    scores = knn_classify(queries, bank, train.labels, num_classes=10, k=5)
    expected = confusion_matrix(test.labels, scores.argmax(1), normalize="true")
    np.testing.assert_allclose(shares(figure), expected)
    right = 100 * (scores.argmax(1) == test.labels).float().mean()
    expected = f"TriMix on Digits, kNN last epoch, seed 0: {right:.2f} % correct"
    assert title(figure) == expected
    linear = confusion_figure([tiny_config, checkpoint], protocol="linear")
    assert title(linear).startswith("TriMix on Digits, linear, all labels ")
    assert not (tmp_path / "evaluation" / "results.json").exists()
    with pytest.raises(UserError, match="--protocol is 'semi'; from a checkpoint there are knn, linear"):
        confusion_figure([tiny_config, checkpoint], protocol="semi")
    with pytest.raises(UserError, match="--where belongs to a results.json"):
        confusion_figure([tiny_config, checkpoint], where=["seed=1"])
