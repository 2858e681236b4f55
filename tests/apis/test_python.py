"""``from ssl_ext import pretrain, evaluate, load``: the same as the commands."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_ext
from ssl_ext import evaluate, load, pretrain
from ssl_ext.cli.evaluate import main as evaluate_tool
from ssl_ext.cli.train import main as train_tool
from ssl_ext.errors import UserError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders in which the same images were used by the functions and by the commands, and the results."""
    root, before = tmp_path_factory.mktemp("python"), Path.cwd()
    noise = np.random.default_rng(0)
    for number in range(60):
        path = root / "mine" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 90, (20, 24, 3), np.uint8)
        pixels[..., number % 2] += 100
        Image.fromarray(pixels).save(path)
    short, answers = {"default_hooks.checkpoint.interval": 1, "evaluation.linear.l2": [1.0]}, []
    for name in ("functions", "commands"):
        (root / name).mkdir()
        os.chdir(root / name)
        try:
            if name == "functions":
                answers.append(pretrain("trimix", data=root / "mine", epochs=2, options=short, seed=3))
                answers.append(evaluate(answers[0], ["knn", "linear"]))
            else:
                words = [f"{key}={value}" for key, value in short.items()]
                mine = ["trimix", "--data", str(root / "mine"), "--seed", "3", "--epochs", "2"]
                train_tool([*mine, "--cfg-options", *words])
                config, checkpoint = "work_dirs/trimix_mine.py", "work_dirs/trimix_mine/epoch_2.pth"
                evaluate_tool([config, checkpoint, "--cfg-options", words[-1]])
        finally:
            os.chdir(before)
    return root, *answers


def test_functions_write_the_files_of_the_commands(runs):
    root, run, results = runs
    ours, theirs = (root / name / "work_dirs" for name in ("functions", "commands"))
    assert (run.work_dir, run.checkpoint) == (
        Path("work_dirs/trimix_mine"),
        Path("work_dirs/trimix_mine/epoch_2.pth"),
    )
    assert (ours / "trimix_mine.py").read_text() == (theirs / "trimix_mine.py").read_text()
    one, two = (torch.load(place / "trimix_mine/epoch_2.pth", weights_only=True) for place in (ours, theirs))
    assert one["meta"]["cfg"] == two["meta"]["cfg"]
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    written, other = (
        json.loads((place / "trimix_mine/evaluation/results.json").read_text()) for place in (ours, theirs)
    )
    assert [row.protocol for row in results] == ["knn", "linear"] == [row["protocol"] for row in written]
    for row, same, theirs in zip(results, written, other, strict=True):
        assert row.last == same["last"] == theirs["last"]
        assert same["settings"] == theirs["settings"]
        assert same["source"]["dataset"] == theirs["source"]["dataset"]
        assert Path(same["source"]["config"]).name == Path(theirs["source"]["config"]).name


def test_a_run_tells_its_numbers_and_is_a_path(runs, monkeypatch):
    root, run, results = runs
    monkeypatch.chdir(root / "functions")
    assert [logged["epoch"] for logged in run.curve if "loss" in logged][-1] == 2
    assert run.metrics["loss"] == [logged["loss"] for logged in run.curve if "loss" in logged][-1]
    assert [axes.get_title() or axes.get_ylabel() for axes in run.plot(["loss"]).axes]
    assert os.fspath(run) == "work_dirs/trimix_mine/epoch_2.pth"
    assert load(run)(sorted((root / "mine" / "a").iterdir())).shape == (30, 128)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert "kNN" in str(results) and "\x1b" not in str(results)
    assert f"{100 * results[0].last['acc']:.2f}" in str(results)
    assert evaluate(run, ["knn"], dry_run=True) == []
    # A config that is named is used, and the checkpoint's is not read.
    (row,) = evaluate(run, ["knn"], config="work_dirs/trimix_mine.py", out_dir=root / "named")
    assert row.last == results[0].last


def test_errors_are_one_sentence(runs, tiny_config, tmp_path, monkeypatch):
    root, run, _ = runs
    monkeypatch.chdir(root / "functions")
    for call, words in (
        (lambda: pretrain("trimx", root / "mine"), "'trimx' is not a method; did you mean 'trimix'"),
        (lambda: pretrain("trimix"), "'trimix' is a method: give your images too"),
        (lambda: pretrain("trimix", root / "none"), "--data '.*none' does not exist"),
        (lambda: pretrain(tiny_config, root / "mine"), "a Config names its own images"),
        (lambda: pretrain(tiny_config, epochs=0), "train_cfg.max_epochs=0; it must be"),
        (lambda: pretrain("trimix", root / "mine", epochs=2), "has checkpoints of a run"),
        (lambda: evaluate(run, ["knnn"]), "knnn unknown; did you mean 'knn'"),
        (lambda: evaluate("none.pth"), "none.pth' does not exist"),
    ):
        with pytest.raises(UserError, match=words):
            call()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("evaluation_dataset.type='subprocess.Popen'", "is not a registered data set"),
        ("train_dataloader.dataset.type='open'", "is not a registered data set"),
        ("model.backbone.type='subprocess.Popen'", "is not a registered network class"),
        ("evaluation.linear_aug.augment=[dict(type='builtins.exec')]", "is not a registered network class"),
    ],
)
def test_nothing_of_a_checkpoint_is_run(setting, words, tiny_config, tmp_path):
    key, _, value = setting.partition("=")
    tiny_config.merge_from_dict({key: eval(value)})
    meta = dict(cfg=tiny_config.pretty_text)
    torch.save(dict(meta=meta, state_dict={"backbone.x": torch.zeros(1)}), tmp_path / "strange.pth")
    with pytest.raises(UserError, match=words):
        evaluate(tmp_path / "strange.pth")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = ssl_ext.trian
    assert {"pretrain", "evaluate", "load"} <= set(dir(ssl_ext))
