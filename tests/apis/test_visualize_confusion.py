"""Confusion matrices from results and from checkpoints."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from ssl_ext.apis.figures.confusion import confusion_figure
from ssl_ext.config.networks import random_network
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, knn_classify, write_results
from ssl_ext.models.evaluated import EvaluatedModel


def shares(figure):
    return np.ma.filled(figure.axes[0].get_images()[0].get_array(), np.nan)


def row(protocol, matrix, source=None):
    last = {"acc": 0.5} if matrix is None else {"acc": 0.75, "confusion": matrix}
    best = {"acc": 1.0, "confusion": [[1, 0], [0, 1]]}
    return ResultRow("SimCLR", protocol, last, best, settings={}, sizes={}, seed=0, source=source or {})


def test_of_a_row(tmp_path):
    path = tmp_path / "results.json"
    classes = {"classes": ["benign", "malignant"]}
    write_results(
        path, [row("cluster", None), row("knn", [[1, 1], [0, 2]], classes), row("linear", [[0, 2], [1, 1]])]
    )
    first, linear = confusion_figure([path]), confusion_figure([path], protocol="linear")
    np.testing.assert_array_equal(shares(first), [[0.5, 0.5], [0, 1]])
    assert first.axes[0].get_title() == "SimCLR, knn: 75.00 % right"
    assert [tick.get_text() for tick in first.axes[0].get_yticklabels()] == classes["classes"]
    np.testing.assert_array_equal(shares(linear), [[0, 1], [0.5, 0.5]])
    assert [tick.get_text() for tick in linear.axes[0].get_yticklabels()] == ["0", "1"]
    np.testing.assert_array_equal(shares(confusion_figure([path], which="best")), np.eye(2))
    with pytest.raises(UserError, match="confusion matrix of cluster; protocols that have one: knn, lin"):
        confusion_figure([path], protocol="cluster")
    with pytest.raises(UserError, match="--cfg-options apply to"):
        confusion_figure([path], options={"a": 1})
    with pytest.raises(UserError, match="Give a results.json, or"):
        confusion_figure([path, path, path])


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
    assert figure.axes[0].get_title() == f"TriMix, kNN: {right:.2f} % right"
    linear = confusion_figure([tiny_config, checkpoint], protocol="linear")
    assert linear.axes[0].get_title().startswith("TriMix, linear: ")
    assert not (tmp_path / "evaluation" / "results.json").exists()
    with pytest.raises(UserError, match="--protocol is 'semi'; from a checkpoint there are knn, linear"):
        confusion_figure([tiny_config, checkpoint], protocol="semi")
