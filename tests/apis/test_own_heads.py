"""A run with a head of the user's own: read in a process that does not know its class."""

import sys

import numpy as np
import pytest
import torch
from processes import forked

from ssl_ext import evaluate, load, pretrain
from ssl_ext.apis import export
from ssl_ext.apis.explore.runs import find_runs
from ssl_ext.cli import __main__ as program
from ssl_ext.config.stored import unfinished, untrusted_config
from ssl_ext.errors import UserError
from ssl_ext.exporting.classifier import load_classifier

HEAD = """
import torch
from ssl_ext.registry import MODELS


@MODELS.register_module()
class UnsharedHead(torch.nn.Module):
    def loss(self, first, second):
        return dict(loss=(first - second).square().mean())
"""
CONFIG = """
_base_ = "ssl_ext::barlow_twins/barlow-twins_resnet18-w16_1xb128-adam-20e_cifar10-10k.py"
custom_imports = dict(imports=["unshared_head"])
model = dict(head=dict(_delete_=True, type="UnsharedHead"))
"""


def test_a_run_with_an_unshared_head_is_loaded_explored_and_exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unshared_head.py").write_text(HEAD)
    (tmp_path / "own.py").write_text(CONFIG)
    np.savez("mine.npz", train_images=np.random.default_rng(0).integers(0, 255, (20, 28, 28, 3), np.uint8))

    def train():
        sys.path.insert(0, str(tmp_path))
        run = pretrain("own.py", data="mine.npz", epochs=1)
        evaluate(run.work_dir, ["quality"], config="work_dirs/own_mine.py")

    log = tmp_path / "output.txt"
    status, said = forked(1, train, log), log.read_text()
    assert status == [0] and "UnsharedHead: quality" in said and "(20 images)" in said, said[-3000:]
    assert (tmp_path / "work_dirs/own_mine.py").read_text().startswith("# UnsharedHead on ")
    model = load("work_dirs/own_mine")
    assert "UnsharedHead" in repr(model) and torch.isfinite(model(np.zeros((2, 28, 28, 3), np.uint8))).all()
    (run,) = find_runs(["work_dirs/own_mine"])
    assert run.config.model.type == "PlainBackbone" and run.config.train_dataloader.dataset
    assert "UnsharedHead" in str(evaluate("work_dirs/own_mine", ["quality"]))
    report = export("work_dirs/own_mine", to="safetensors")
    assert report.about["checked_at"] == 28  # px of the training
    assert report.about["method"] == "UnsharedHead" and "UnsharedHead" in repr(load(report.path))
    assert "unshared_head" not in sys.modules
    with pytest.raises(UserError, match="has no classifier; train one.*ssl-ext evaluate CONFIG.*--save"):
        load_classifier("work_dirs/own_mine/epoch_1.pth")


def text_of(settings):
    return "".join(f"{key} = {value!r}\n" for key, value in settings.items())


@pytest.mark.parametrize("part", ["backbone", "data_preprocessor"])
def test_an_unknown_class_that_would_be_built_is_refused(part, tiny_settings):
    settings = dict(tiny_settings, model={**tiny_settings["model"], "head": dict(type="UnsharedHead")})
    assert untrusted_config(text_of(settings), "It").model.type == "PlainBackbone"
    settings["model"][part] = dict(type="subprocess.Popen")
    with pytest.raises(UserError, match=f"model.{part}.type='subprocess.Popen', which is not"):
        untrusted_config(text_of(settings), "It")


@pytest.mark.parametrize(("done", "words"), [(2, "'a.pth' is of epoch 2 of 5"), (5, None)])
def test_an_unfinished_training_is_named(done, words):
    found = unfinished("a.pth", dict(meta=dict(cfg="train_cfg = dict(max_epochs=5)", epoch=done, iter=30)))
    assert words in found if words else found is None


def test_without_a_command_the_commands_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ssl-ext"])
    program.dispatch()
    assert "  label-curve measure" in capsys.readouterr().out
