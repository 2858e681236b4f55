"""Trained classifiers kept by ``evaluate(save=...)``, and their use as checkpoints."""

import csv
import json

import numpy as np
import pytest
import torch
from digit_files import save_digits
from methods import tiny_run
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ssl_ext.apis import evaluate, export, load_classifier, predict
from ssl_ext.apis.evaluate import files
from ssl_ext.apis.evaluate.protocols import Protocols
from ssl_ext.apis.evaluate.rows import ResultRows
from ssl_ext.apis.figures import confusion_figure, embedding_figure
from ssl_ext.errors import UserError
from ssl_ext.evaluation.calibration import tempered
from ssl_ext.registry import MODELS

SHORT = dict(epochs=4, min_steps=None, batch_size=8, lr=5e-2, evaluations=4, augment=None)
TRAINED = ("linear", "linear-aug", "finetune", "supervised", "budget", "semi", "transfer")


@pytest.fixture
def config(tiny_config, tmp_path):
    """The tiny network on 40 training, 20 validation and 100 test digits."""
    counts = dict(train=40, val=20, test=100)
    tiny_config.evaluation_dataset = save_digits(tmp_path / "digits.npz", counts)
    tiny_config.evaluation.update(linear_aug=dict(epochs=3, milestones=[], lr=1.0), finetune=SHORT)
    return tiny_config


@pytest.fixture
def kept(monkeypatch):
    """Scores of each row before they are rounded to be stored."""
    found, add = [], ResultRows._add_predictions

    def spy(self, row, measurement, predictions):
        found.append(predictions)
        add(self, row, measurement, predictions)

    monkeypatch.setattr(ResultRows, "_add_predictions", spy)
    return found


def test_saved_networks_give_the_scores_of_their_rows(config, checkpoint, kept, tmp_path, monkeypatch):
    settings = dict(
        protocols=["knn", *TRAINED], budgets=[20], fractions=[0.5], modes=["frozen", "unfrozen"], draws=1,
        transfer_to=[Config(dict(evaluation_dataset=config.evaluation_dataset.to_dict()))],
        baselines=["pixels"], device="cpu",
    )  # fmt: skip
    differ = 0
    for which, fewer in dict(best={}, last=dict(protocols=["finetune", "linear-aug"])).items():
        if fewer:
            settings = fewer | dict(device="cpu")
        kept.clear()
        out = tmp_path / which
        rows = evaluate(config, checkpoint, save=True, save_which=which, out_dir=out, **settings)
        assert [row.saved is not None for row in rows] == [
            row.protocol in TRAINED and row.method != "pixels" for row in rows
        ]
        assert len(list((out / "networks").iterdir())) == sum(row.saved is not None for row in rows)
        assert json.loads((out / "results.json").read_text())[-1]["saved"] == rows[-1].saved
        images = torch.from_numpy(np.load(tmp_path / "digits.npz")["x_test"])
        for row, predictions in zip(rows, kept, strict=True):
            if row.saved is None:
                continue
            classifier = load_classifier(out / row.saved, "cpu")
            scores = classifier.scores(images).float().numpy()
            np.testing.assert_allclose(scores, predictions.test[which].values, atol=1e-6)
            other = predictions.test["last" if which == "best" else "best"].values
            differ += np.abs(scores - other).max() > 0.01
            assert classifier.about["epoch"] == which and classifier.about["protocol"] == row.protocol
            assert classifier.about[which]["acc"] == getattr(row, which)["acc"]
            assert classifier.image_size == (8, 8) and classifier.num_classes == 10
            if row.method != "supervised":
                assert classifier.about["source"]["checkpoint"]["path"] == str(checkpoint)
    assert differ  # so that the epochs of some networks do

    # The rows whose classifiers are still there are not measured again.
    measured, measure = [], Protocols.measure
    monkeypatch.setattr(Protocols, "measure", lambda self, one: measured.append(one) or measure(self, one))
    again = dict(save=True, save_which="last", out_dir=tmp_path / "last", resume=True, **settings)
    assert [row.saved for row in evaluate(config, checkpoint, **again)] == [row.saved for row in rows]
    assert not measured
    (tmp_path / "last" / rows[0].saved).unlink()
    evaluate(config, checkpoint, **again)
    assert [one.protocol for one in measured] == [rows[0].protocol]
    evaluate(config, checkpoint, **again | dict(save_which="best"))
    evaluate(config, checkpoint, **again | dict(save=tmp_path / "elsewhere", save_which="best"))
    assert len(measured) == 1 + 2 * len(rows)


@pytest.mark.parametrize("method", ["TriMix", "TriBYOL", "AMix"])
def test_predictions_of_a_saved_network_of_a_method_are_those_of_its_rows(method, kept, tmp_path):
    data = save_digits(tmp_path / "digits.npz", dict(train=40, val=20, test=100))
    config = tiny_run(method, data["data_root"])
    config.evaluation_dataset = data
    config.evaluation.update(linear=dict(solver="sgd", epochs=2, lr=9.0), finetune={**SHORT, "epochs": 2})
    init_default_scope("ssl_ext")
    network = MODELS.build(config.model)
    torch.manual_seed(0)  # momentum copies differ from their originals
    state = {name: own * (0.9 + 0.2 * torch.rand(own.shape)) if own.is_floating_point() else own
             for name, own in network.state_dict().items()}  # fmt: skip
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    settings = dict(protocols=["linear", "finetune"], save=True, out_dir=tmp_path / "o", device="cpu")
    for row, scores in zip(evaluate(config, tmp_path / "weights.pth", **settings), kept, strict=True):
        path = tmp_path / "o" / row.saved
        out = predict(path, data["data_root"], out=tmp_path / f"{row.protocol}.csv", device="cpu")
        with open(out) as file:
            lines = list(csv.DictReader(file))
        found = np.array([[float(line[f"p({label})"]) for label in range(10)] for line in lines])
        calibration = load_classifier(path, "cpu").calibration
        best = torch.from_numpy(scores.test["best"].values)
        expected = tempered(best, calibration.temperature, "multi-class")
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert [int(line["decision"]) for line in lines] == best.argmax(1).tolist()
        assert row.method == method and np.ptp(found, axis=0).max() > 2e-5


def test_a_saved_network_is_a_checkpoint_of_evaluate_visualize_and_export(config, checkpoint, tmp_path):
    config.dump(tmp_path / "tiny.py")
    (row,) = evaluate(config, checkpoint, protocols=["supervised"], save=tmp_path / "kept", device="cpu")
    (path,) = (tmp_path / "kept").iterdir()
    assert row.saved == str(path)  # outside the folder of the results
    classifier = load_classifier(path, "cpu")
    settings = dict(out_dir=tmp_path / "o", device="cpu")
    again = evaluate(config, path, protocols=["knn", "linear", "cluster"], **settings)
    assert {one.method for one in again} == {"supervised, all labels, custom"}
    before = evaluate(config, checkpoint, protocols=["knn"], **settings)
    assert before[0].last != again[0].last
    images = torch.from_numpy(np.load(tmp_path / "digits.npz")["x_test"])
    figure = embedding_figure(config, [path], points=50)
    assert len(figure.axes[0].collections) == 10
    assert confusion_figure([tmp_path / "tiny.py", path], protocol="linear").axes
    report = export(path, "safetensors", out=tmp_path / "backbone.safetensors", image_size=8)
    assert report.matched == report.tensors
    with torch.no_grad():
        backbone = classifier.network(classifier.network.clean(images))
    torch.testing.assert_close(classifier.head.scores(backbone).float(), classifier.scores(images).float())


def test_measuring_again_replaces_the_file_and_without_save_leaves_it(config, checkpoint, tmp_path):
    settings = dict(protocols=["finetune"], out_dir=tmp_path / "o", device="cpu")
    (first,) = evaluate(config, checkpoint, save=True, **settings)
    (second,) = evaluate(config, checkpoint, save=True, save_which="last", **settings)
    assert first.saved != second.saved
    assert [path.name for path in (tmp_path / "o" / "networks").iterdir()] == [second.saved.split("/")[1]]
    (third,) = evaluate(config, checkpoint, **settings)
    assert third.saved is None and len(list((tmp_path / "o" / "networks").iterdir())) == 1


def test_bad_requests_are_refused_before_training(config, checkpoint, tmp_path, monkeypatch):
    settings = dict(out_dir=tmp_path / "o", device="cpu")
    with pytest.raises(UserError, match="none of the measurements trains a classifier"):
        evaluate(config, checkpoint, protocols=["knn", "cluster"], save=True, **settings)
    with pytest.raises(UserError, match="which='worst': allowed are best, last"):
        evaluate(config, checkpoint, protocols=["finetune"], save=True, save_which="worst", **settings)
    said = []
    monkeypatch.setattr(files, "print_log", lambda message, **_: said.append(message))
    evaluate(config, checkpoint, protocols=["linear"], seeds=[0, 1], save=True, **settings)
    assert said[0].startswith("--save writes the best networks: 2 files of 0.7 MB, 0.00 GB in all, in '")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), dict(free=10**5)))
    with pytest.raises(UserError, match="--save would write 1 file of 0.7 MB.* 0.00 GB are free"):
        evaluate(config, checkpoint, protocols=["linear"], save=True, **settings)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Trained networks cannot be written.*--save"):
        evaluate(config, checkpoint, protocols=["linear"], save=tmp_path / "file", **settings)


def test_other_files_have_no_classifier(config, checkpoint, tmp_path):
    with pytest.raises(UserError, match="has no classifier"):
        load_classifier(checkpoint)
    evaluate(config, checkpoint, protocols=["linear"], save=tmp_path / "kept", device="cpu")
    (path,) = (tmp_path / "kept").iterdir()
    content = torch.load(path, weights_only=True)
    for key, value in dict(task="regression", weight=torch.zeros(10, 3), image_size=[8], classes_=0).items():
        damaged = {**content, "classifier": {**content["classifier"], key: value}}
        torch.save(damaged, tmp_path / "damaged.pth")
        if key == "classes_":
            load_classifier(tmp_path / "damaged.pth", "cpu")
        else:
            with pytest.raises(UserError, match="has a damaged classifier"):
                load_classifier(tmp_path / "damaged.pth", "cpu")
    content["meta"]["cfg"] = "import os\nos.abort()"
    torch.save(content, tmp_path / "damaged.pth")
    with pytest.raises(UserError, match="a config is run only if you name it"):
        load_classifier(tmp_path / "damaged.pth")
