"""Accuracies of a classifier during training: correct, stored, in the report, and without side effects."""

import json
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ssl_ext.apis import pretrain
from ssl_ext.apis.figures import curves_figure
from ssl_ext.apis.report import report
from ssl_ext.apis.report.references import Reference
from ssl_ext.config.papers import Cell
from ssl_ext.datasets import ArrayDataset
from ssl_ext.engine import ClassifierEvaluationHook, median_of_last
from ssl_ext.engine.hooks.classifier_evaluation import classifier_accuracies
from ssl_ext.evaluation import Condition, read_results


@pytest.fixture
def classifier_config(tiny_config):
    backbone = tiny_config.model.backbone
    head = dict(type="LinearClsHead", num_classes=10, in_channels=64)
    tiny_config.model = dict(type="ImageClassifier", backbone=backbone, head=head)
    tiny_config.views = [dict(repeats=1, transforms=[dict(type="RandomCrop", size=8, padding=1)])]
    tiny_config.custom_hooks = [dict(type="RandomStateHook"), dict(type="ClassifierEvaluationHook", last=2)]
    tiny_config.train_cfg.max_epochs = 3
    return tiny_config


def stored(work_dir):
    return json.loads((work_dir / "accuracies.json").read_text())


def test_runs_are_measured_stored_and_reported_and_go_on_as_without(classifier_config, tmp_path):
    watched = pretrain(classifier_config, work_dir=tmp_path / "watched", seed=3)
    classifier_config.custom_hooks = [dict(type="RandomStateHook")]
    alone = pretrain(classifier_config, work_dir=tmp_path / "alone", seed=3)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name

    content = stored(tmp_path / "watched")
    epochs = content["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    seconds = [epoch["epoch_seconds"] for epoch in epochs]
    assert epochs[-1]["training_seconds"] == pytest.approx(sum(seconds))
    assert content["median_epoch_seconds"] == statistics.median(seconds)
    last = [epoch["accuracy"] for epoch in epochs[1:]]
    assert content["median"]["accuracy"] == content["median"]["accuracy_plain"] == sum(last) / 2

    path = tmp_path / "watched/classification/results.json"
    (row,) = read_results(path)
    assert (row.method, row.protocol, row.seed) == ("ImageClassifier", "classification", 3)
    assert row.last == row.best
    assert row.last["acc"] == content["median"]["accuracy"]
    assert row.last["val_acc"] == content["median"]["val_accuracy"]
    assert row.settings["figure"] == "median of the last 2 measurements"
    assert row.sizes == dict(train=1078, test=359)
    classifier_config.dump(tmp_path / "mine.py")
    at_paper = Cell({}, 90.0, "acc", "mine", evaluate=dict(protocols="classification"))
    reference = Reference(0.9, "acc", "a paper", at_paper, Condition.from_row(row), (), tmp_path)
    assert reference.differences(row, "last") == []
    longer = replace(at_paper, options=["train_cfg.max_epochs=4"])
    (reason,) = replace(reference, cell=longer).differences(row, "last")
    assert reason == "its pretraining epochs are 3, not 4"
    ((grid,), _) = report([tmp_path / "watched"], out_dir=tmp_path / "report")
    assert f"{100 * row.last['acc']:.2f}" in grid.markdown()

    (panel,) = curves_figure([tmp_path / "watched"], keys=["accuracy_plain"], smoothing=0, x="hours").axes
    drawn = panel.get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn[:, 0], np.cumsum(seconds) / 3600)
    np.testing.assert_allclose(drawn[:, 1], [100 * epoch["accuracy_plain"] for epoch in epochs])


def test_interval_leaves_epochs_out_but_not_the_last(classifier_config, tmp_path):
    classifier_config.custom_hooks[1] = dict(type="ClassifierEvaluationHook", interval=2)
    pretrain(classifier_config, work_dir=tmp_path)
    epochs = stored(tmp_path)["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [2, 3]
    assert epochs[0]["training_seconds"] > epochs[0]["epoch_seconds"]  # the sum of both epochs


class Threshold(nn.Module):
    """Predicts class 1 for images with a mean above a threshold, with two thresholds."""

    def data_preprocessor(self, data, training):
        return dict(inputs=data["inputs"].float().mean((1, 2, 3)), data_samples=dict(labels=data["labels"]))

    def logits(self, means):
        return {name: torch.stack([level - means, means - level], 1) for name, level in LEVELS.items()}


LEVELS = dict(low=50, high=170)


def test_accuracies_of_every_prediction_over_labelled_images():
    means = np.arange(0, 220, 20)
    labels = (np.arange(11) % 3 == 0).astype(np.int64)
    labels[[2, 5]] = -1
    images = np.broadcast_to(means[:, None, None, None], (11, 3, 2, 2)).astype(np.uint8)
    found = classifier_accuracies(Threshold(), ArrayDataset(images, labels, classes=["a", "b"]), batch_size=4)
    for name, level in LEVELS.items():
        right = [(mean > level) == label for mean, label in zip(means, labels, strict=True) if label >= 0]
        assert found[name] == sum(right) / 9
    assert found["low"] != found["high"]


def test_median_needs_no_ten_epochs():
    epochs = [dict(epoch=1, accuracy=0.5, epoch_seconds=1.0), dict(epoch=2, accuracy=0.7, epoch_seconds=1.0)]
    assert median_of_last(epochs) == dict(accuracy=0.6)
    assert median_of_last([]) == {}


@pytest.mark.parametrize("key", ["interval", "last"])
def test_bad_settings_are_named(key):
    with pytest.raises(ValueError, match=f"ClassifierEvaluationHook.{key} is 0"):
        ClassifierEvaluationHook(**{key: 0})
