"""Stored scores: what is kept, what is computed from them, and how their files follow the rows."""

import json
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from ssl_ext.apis import evaluate
from ssl_ext.apis.report import report
from ssl_ext.config.networks import random_network
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Predictions, Scored, evaluate_scores, read_results
from ssl_ext.evaluation.class_counts import class_counts, majority
from ssl_ext.evaluation.operating import class_figures, threshold


class Grouped:
    """A split with an unlabelled image."""

    labels = np.array([0, 1, -1, 1, 0])
    groups = np.array(["p1", "p2", "p3", "p2", "p4"])


def scored(seed, count=4, classes=2, last=None):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    scores = [torch.randn(count, classes, generator=generator).add(torch.eye(classes)[labels]) for _ in "ab"]
    best, own = (torch.softmax(4 * one, dim=1) for one in scores)
    return Scored(own if last is None else best, best, labels)


@pytest.mark.parametrize("last", [None, "best"])
def test_a_file_gives_back_what_was_written(last, tmp_path):
    made = Predictions.of(
        scored(0, last=last), scored(1, 30, last=last), task="multi-class", num_classes=2
    ).placed(Grouped())
    (tmp_path / "a.npz").write_bytes(made.content())
    read = Predictions.load(tmp_path / "a.npz")
    assert (read.task, read.num_classes, read.units) == ("multi-class", 2, 3)
    assert read.images.tolist() == [0, 1, 3, 4] and read.groups.tolist() == ["p1", "p2", "p2", "p4"]
    for split in ("test", "val"):
        for which in ("last", "best"):
            before, after = (getattr(one, split)[which] for one in (made, read))
            assert (before.predicted == after.predicted).all()
            assert after.values == pytest.approx(before.values, rel=5e-3, abs=1e-7)
            assert 1 - after.values == pytest.approx(1 - before.values, rel=5e-3, abs=1e-7)
    assert made.content() == made.content()


def test_scores_near_one_stay_apart():
    """Half precision would make 0.9999 and 0.99999 equal, and with them the order of the images."""
    values = torch.tensor([[0.9999], [0.99999], [1.0], [0.0], [1e-7]])
    part = Predictions.of(
        *[Scored(values, values, torch.tensor([0, 1, 1, 0, 0]))] * 2, task="binary", num_classes=2
    ).test["last"]
    stored = part.arrays("x")["log_odds_x"]
    assert stored.dtype == np.float16
    assert np.argsort(stored[:, 0]).tolist() == [3, 4, 0, 1, 2]


@pytest.mark.parametrize("content", [None, b"PK", b""])
def test_a_missing_or_damaged_file_is_one_sentence(content, tmp_path):
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="does not exist" if content is None else "holds no scores"):
        Predictions.load(tmp_path / "a.npz")


def test_the_threshold_reaches_the_specificity_with_most_sensitivity():
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.3
    scores = (rng.normal(size=200) + labels).round(1)
    for wanted in (0.5, 0.8, 0.9, 0.95):
        cut = threshold(scores, ~labels, wanted)
        assert (scores[~labels] <= cut).mean() >= wanted
        false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
        assert (scores[labels] > cut).mean() == true_rate[false_rate <= 1 - wanted + 1e-12].max()
    assert np.isnan(threshold(scores, np.zeros(200, bool), 0.9))


def test_figures_of_classes_use_the_threshold_of_validation():
    made = Predictions.of(scored(2, 300, 3), scored(3, 90, 3), task="multi-class", num_classes=3)
    found = class_figures(made, "best", specificity=0.8)
    assert list(found) == [0, 1, 2]
    for index, figures in found.items():
        val, test = made.val["best"].values[:, index], made.test["best"].values[:, index]
        over = test > threshold(val, made.val_labels != index, 0.8)
        own = made.labels == index
        assert figures["sensitivity_at"].value == pytest.approx(over[own].mean(), abs=1e-6)
        assert figures["specificity_reached"].value == pytest.approx((~over)[~own].mean(), abs=1e-6)
        for value, (low, high) in figures.values():
            assert low < value < high
    plain = class_figures(made, "best", specificity=0.8, intervals=False)
    assert plain[0]["auc"] == (found[0]["auc"].value, None)


def test_counts_and_the_most_frequent_class():
    assert class_counts(torch.tensor([[1, 0], [1, 1], [-1, -1]]), 2) == [2, 1]
    for train in ([3, 5, 1], [3, 1, 5]):
        found, labels = majority(train, [40, 60, 0]), torch.tensor([0] * 40 + [1] * 60)
        scores = torch.nn.functional.one_hot(torch.tensor(train).argmax().expand(100), 3).float()
        expected = evaluate_scores(scores, labels, "ordinal")
        assert found == pytest.approx({name: expected[name] for name in found}), train
    assert majority([3, 5], [45, 60]) is None


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    path = tmp_path / "run" / "epoch_2.pth"
    path.parent.mkdir()
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, path)
    return path


def test_every_row_has_scores_that_outlive_the_network(tiny_config, checkpoint, tmp_path, monkeypatch):
    logged = []
    module = sys.modules["ssl_ext.apis.evaluate.rows"]
    monkeypatch.setattr(module, "print_log", lambda message, **_: logged.append(message))
    options = {
        "evaluation.finetune": dict(epochs=2, min_steps=None, batch_size=256),
        "evaluation.linear_aug": dict(epochs=1, batch_size=256),
    }
    rows = evaluate(
        tiny_config, checkpoint, protocols=["knn", "linear", "linear-aug", "finetune", "cluster"],
        labels_per_class=[2], draws=1, options=options,
    )  # fmt: skip
    folder = checkpoint.parent / "evaluation"
    read = read_results(folder / "results.json")
    assert [row.predictions for row in read] == [row.predictions for row in rows]
    for row in read:
        if row.protocol == "cluster":
            assert row.predictions is None and not row.intervals
            continue
        stored = Predictions.load(folder / row.predictions)
        assert len(stored.labels) == row.sizes["test"] and len(stored.val_labels) == row.sizes["val"]
        for which in ("last", "best"):
            found = stored.weighted(which).metrics(np.ones((len(stored.labels), 1), np.float32))
            metrics = getattr(row, which)
            assert found["acc"][0] == pytest.approx(metrics["acc"], abs=1e-12)
            # Nearly equal scores of a barely trained probe are ties in float16.
            assert found["auc"][0] == pytest.approx(metrics["auc"], abs=1e-3)
            low, high = row.intervals[which]["acc"]
            assert low <= metrics["acc"] <= high
        assert (row.intervals["over"], row.intervals["units"]) == ("images", row.sizes["test"])
    draw = next(row for row in read if row.labels_per_class == 2)
    assert draw.settings["labels"]["class_counts"] == [2] * 10
    assert sum(draw.source["class_counts"]["test"]) == draw.sizes["test"]
    assert f"per-class-2_seed-0_draw-0: 20 labels, by class: {[2] * 10}" in logged
    report([folder], out_dir=tmp_path / "out", specificity=0.95)
    lines = (tmp_path / "out" / "classes.csv").read_text().splitlines()
    assert len(lines) == 1 + 10 * (len(rows) - 1) and ",0.95," in lines[1]
    assert "sensitivity % at 95 %" in (tmp_path / "out" / "report.html").read_text()


def test_a_repeated_measurement_replaces_its_scores(tiny_config, checkpoint, monkeypatch):
    folder = checkpoint.parent / "evaluation"

    def files():
        return {path.relative_to(folder).as_posix() for path in (folder / "predictions").glob("*.npz")}

    options = {"evaluation.knn.k": 5}
    (first,) = evaluate(tiny_config, checkpoint, protocols=["knn"], options=options)
    (again,) = evaluate(tiny_config, checkpoint, protocols=["knn"], options=options)
    assert first.predictions == again.predictions and files() == {first.predictions}
    (other,) = evaluate(tiny_config, checkpoint, protocols=["knn"], options={"evaluation.knn.k": 7})
    assert files() == {first.predictions, other.predictions}
    # The same measurement with another result, as on another machine.
    content = json.loads((folder / "results.json").read_text())
    (folder / "predictions" / "older.npz").write_bytes(b"")
    for row in content:
        if row["settings"]["k"] == 5:
            row["predictions"] = "predictions/older.npz"
    (folder / "results.json").write_text(json.dumps(content))
    evaluate(tiny_config, checkpoint, protocols=["knn"], options=options)
    assert files() == {first.predictions, other.predictions}
    # A row that names a file elsewhere does not delete it.
    outside = checkpoint.parent / "mine.npz"
    outside.write_bytes(b"")
    for row in content:
        row["predictions"] = "../mine.npz"
    (folder / "results.json").write_text(json.dumps(content))
    evaluate(tiny_config, checkpoint, protocols=["knn"], options=options)
    assert outside.exists()


def test_a_stop_leaves_whole_files_alone(tiny_config, checkpoint, monkeypatch):
    """Scores are written before the row that names them, and never under a name that is in use."""

    class Stop(BaseException):
        pass

    def stop(*args):
        raise Stop

    monkeypatch.setattr(sys.modules["ssl_ext.apis.evaluate.rows"], "write_results", stop)
    with pytest.raises(Stop):
        evaluate(tiny_config, checkpoint, protocols=["knn"])
    folder = checkpoint.parent / "evaluation"
    (path,) = (folder / "predictions").glob("*.npz")
    assert not (folder / "results.json").exists()
    Predictions.load(path)
