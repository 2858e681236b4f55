"""Two models, or two methods over pretraining seeds, from stored results."""

import importlib
import re
import sys

import pytest
import torch
from sklearn.metrics import roc_auc_score

from ssl_ext.apis.compare import compare
from ssl_ext.errors import UserError, run_tool
from ssl_ext.evaluation import Predictions, ResultRow, Scored, evaluate_scores, write_results
from ssl_ext.evaluation.significance import mcnemar, seed_difference

COUNT = 200
LABELS = (torch.arange(COUNT) % 5 == 0).long()


def scores_of(quality, seed):
    """Probabilities (N, 2) of images that are alike for all seeds."""
    common = torch.randn(COUNT, generator=torch.Generator().manual_seed(0))
    own = torch.randn(COUNT, generator=torch.Generator().manual_seed(seed))
    score = torch.sigmoid(quality * (LABELS * 2.0 - 1) + common + own)
    return torch.stack([1 - score, score], dim=1)


def measured(
    folder, quality, *, method="SimCLR", seed=0, groups=None, scores=True, task="binary", size=COUNT
):
    """Write the results of a checkpoint, with its scores, and return them."""
    probabilities = scores_of(quality, seed + 1)
    scored = Scored(probabilities, probabilities, LABELS)
    predictions = Predictions.of(scored, scored, task=task, num_classes=2)

    class Data:
        labels = LABELS

    Data.groups = groups
    metrics = evaluate_scores(probabilities, LABELS, task)
    source = {"checkpoint": {"path": f"{folder}/a.pth", "sha256": f"sha-{folder.name}"}}
    source |= {
        "pretraining": {"seed": seed},
        "dataset": {"type": "Cells"},
        "classes": ["benign", "malignant"],
    }
    row = ResultRow(
        method, "linear", metrics, metrics, {"l2": 1.0}, {"test": size}, 0, source=source,
        predictions="predictions/a.npz" if scores else None,
    )  # fmt: skip
    write_results(folder / "results.json", [row])
    (folder / "predictions").mkdir(exist_ok=True)
    (folder / "predictions" / "a.npz").write_bytes(predictions.placed(Data).content())
    return probabilities.numpy(), metrics


@pytest.mark.parametrize("task", ["binary", "multi-class"])
def test_two_models_on_the_same_images(task, tmp_path):
    (first, good), (second, poor) = (
        measured(tmp_path / name, quality, seed=seed, task=task)
        for seed, (name, quality) in enumerate([("a", 1.7), ("b", 0.3)])
    )
    differences, counts, areas = compare(tmp_path / "a", tmp_path / "b")
    accuracy, area = differences.rows
    assert accuracy[:2] == ["Cells, linear, all labels", "acc. %"]
    assert accuracy[2:4] == [f"{100 * one['acc']:.2f}" for one in (good, poor)]
    value, low, high = map(float, re.findall(r"[+-][\d.]+", accuracy[4]))
    assert value == pytest.approx(100 * (good["acc"] - poor["acc"]), abs=0.006)
    # A paired difference varies by the images on which the models differ.
    unlike = (first.argmax(1) == LABELS.numpy()) * 1.0 - (second.argmax(1) == LABELS.numpy())
    assert (high - low) / 2 == pytest.approx(196 * unlike.std() / COUNT**0.5, rel=0.15)
    right = [one.argmax(1) == LABELS.numpy() for one in (first, second)]
    only_first, only_second, _ = mcnemar(*right)
    assert counts.rows[0][1:3] == [str(only_first), str(only_second)]
    assert area[1:3] == ["AUC", f"{roc_auc_score(LABELS, first[:, 1]):.4f}"]
    assert float(areas.rows[0][1].split()[0]) == pytest.approx(good["auc"] - poor["auc"], abs=3e-4)
    assert areas.rows[0][2:] == ["<0.0001", "<0.0001"]
    assert "hold for these two checkpoints only (A sha-a, B sha-b)" in differences.notes[0]


def test_groups_are_resampled_and_tests_of_independent_images_left_out(tmp_path):
    def width(groups):
        for name, quality in (("a", 2.0), ("b", 1.0)):
            measured(tmp_path / name, quality, seed=ord(name), groups=groups)
        table, *tests = compare(tmp_path / "a", tmp_path / "b", metrics=["acc"])
        assert bool(tests) is (groups is None)
        assert any("groups are resampled" in note for note in table.notes) is (groups is not None)
        _, low, high = map(float, re.findall(r"[+-][\d.]+", table.rows[0][4]))
        return high - low

    # Images of a patient are right or wrong together: sorted by the difference, in ten patients.
    scores = [
        scores_of(quality, ord(name) + 1).argmax(1) == LABELS for name, quality in (("a", 2.0), ("b", 1.0))
    ]
    order = (scores[0].int() - scores[1].int()).argsort(stable=True).argsort()
    assert width([f"p{place // 20}" for place in order.tolist()]) > 2 * width(None)


def test_methods_over_pretraining_seeds(tmp_path):
    found = {
        name: [measured(tmp_path / name / str(s), quality, method=name, seed=s)[1]["acc"] for s in range(6)]
        for name, quality in (("SimCLR", 1.5), ("BYOL", 1.2))
    }
    (table,) = compare(tmp_path / "SimCLR", tmp_path / "BYOL", metrics=["acc"])
    expected = seed_difference(found["SimCLR"], found["BYOL"])
    (row,) = table.rows
    assert row[2].startswith(f"{100 * expected.mean:+.2f} [{100 * expected.ends[0]:+.2f},")
    assert row[5] == "6" and row[6] == (f"{expected.t_p:.4f}" if expected.t_p >= 1e-4 else "<0.0001")
    assert row[8] == str(expected.more_seeds)
    assert "checkpoints only" not in " ".join(table.notes)
    for seed in range(4, 6):
        (tmp_path / "BYOL" / str(seed) / "results.json").unlink()
    (table,) = compare(tmp_path / "SimCLR", tmp_path / "BYOL", metrics=["acc"])
    assert table.rows[0][5:8] == ["4", "-", "-"]


def test_what_cannot_be_compared_is_named(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    measured(a, 1.0)
    measured(b, 1.0, seed=1, scores=False)
    with pytest.raises(UserError, match="has no stored scores"):
        compare(a, b)
    measured(b, 1.0, seed=1)
    with pytest.raises(UserError, match=r"--methods: '.*b' has no rows of BYOL; available are SimCLR"):
        compare(a, b, methods=["SimCLR", "BYOL"])
    with pytest.raises(UserError, match="--metric map: no row has this metric; available are acc, "):
        compare(a, b, metrics=["map"])
    with pytest.raises(UserError, match="which='first'"):
        compare(a, b, which="first")
    measured(tmp_path / "other", 1.0, method="BYOL")
    with pytest.raises(UserError, match="has rows of SimCLR, BYOL: choose one per side with --methods"):
        compare(tmp_path, a)
    measured(b, 1.0, seed=1, size=5)
    with pytest.raises(UserError, match=r"share no measurement. .* settings differ: test images = 200 / 5"):
        compare(a, b)
    for seed in range(2):
        measured(tmp_path / "many" / str(seed), 1.0, seed=seed + 5)
    measured(b, 1.0, seed=1)
    with pytest.raises(UserError, match="SimCLR has the pretraining seeds 5, 6, SimCLR has 1: comparing"):
        compare(tmp_path / "many", b)


def test_the_tool(tmp_path, monkeypatch, capsys):
    tool = importlib.import_module("ssl_ext.cli.compare")
    for seed, name in enumerate("ab"):
        measured(tmp_path / name, 1.0, seed=seed)
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path / "a"), str(tmp_path / "b")])
    tool.main()
    printed = capsys.readouterr().out
    assert "McNemar" in printed and "DeLong" in printed and "checkpoints only" in printed
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path / "a"), str(tmp_path / "none")])
    with pytest.raises(SystemExit) as ended:
        run_tool(tool.main)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
