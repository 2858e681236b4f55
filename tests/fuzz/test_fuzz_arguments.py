"""Wrong command lines of every tool: one sentence, a non-zero status, and no files written."""

import importlib
import logging
import sys
from pathlib import Path

import pytest

from ssl_ext.errors import run_tool

TOOLS = Path(__file__).parents[2] / "tools"
CONFIG, RUN, OUT = "{config}", "{folder}", ["--out", "{out}"]

WRONG = {
    "train": [
        [],
        ["nowhere.py"],
        ["{folder}"],
        ["{text}"],
        ["{broken}"],
        ["{other}"],
        ["{binary}"],
        [CONFIG, "--seed", "one"],
        [CONFIG, "--seed", "-1"],
        [CONFIG, "--resume", "nowhere.pth"],
        [CONFIG, "--resume", "{text}"],
        [CONFIG, "--init", "nowhere.pth"],
        [CONFIG, "--init", "{text}"],
        [CONFIG, "--init", "{text}", "--resume", "{text}"],
        [CONFIG, "--no-such-switch"],
        [CONFIG, "--cfg-options", "novalue"],
        [CONFIG, "--cfg-options", "=3"],
        [CONFIG, "--cfg-options", "model.type=NoSuch"],
        [CONFIG, "--cfg-options", "custom_hooks.9.type=NoSuch"],
        [CONFIG, "--cfg-options", "views.0.transforms.0=3"],
        [CONFIG, "--cfg-options", "train_dataloader.batch_size=1"],
        [CONFIG, "--cfg-options", "train_dataloader.batch_size=100000"],
        [CONFIG, "--cfg-options", "train_dataloader.batch_size=[1,2"],
        [CONFIG, "--cfg-options", "model.backbone.depth=7"],
        [CONFIG, "--cfg-options", "model.backbone.base_channels.x=7"],
        [CONFIG, "--cfg-options", "train_dataloader.dataset.split=tset"],
        [CONFIG, "--cfg-options", "train_dataloader=None"],
        [CONFIG, "--work-dir", "{text}"],
    ],
    "label-curve": [
        [],
        ["nowhere.py", *OUT],
        [CONFIG, "nowhere.pth", *OUT],
        [CONFIG, "--budgets", "10", "20", *OUT],
        [CONFIG, "--budgets", "0", "10", "20", *OUT],
        [CONFIG, "--metric", "ece", *OUT],
        [CONFIG, "--next", "0", *OUT],
        [CONFIG, "--next", "nan", *OUT],
    ],
    "evaluate": [
        [],
        ["nowhere.py"],
        ["{broken}", *OUT],
        [CONFIG, "nowhere.pth", *OUT],
        [CONFIG, "{text}", *OUT],
        [CONFIG, "{folder}", *OUT],
        [CONFIG, "--protocols", "nkk", *OUT],
        [CONFIG, "--protocols", *OUT],
        [CONFIG, "--protocols", "transfer", *OUT],
        [CONFIG, "--protocols", "transfer", "--transfer-to", "nowhere.py", *OUT],
        [CONFIG, "--protocols", "transfer", "--transfer-to", CONFIG, CONFIG, *OUT],
        [CONFIG, "--protocols", "budget", "--budgets", "0", *OUT],
        [CONFIG, "--protocols", "budget", "--budgets", "many", *OUT],
        [CONFIG, "--protocols", "semi", "--fractions", "nan", *OUT],
        [CONFIG, "--protocols", "semi", "--fractions", "1.5", *OUT],
        [CONFIG, "--budgets", "3", *OUT],
        [CONFIG, "--labels-per-class", "-1", *OUT],
        [CONFIG, "--draws", "0", *OUT],
        [CONFIG, "--draws", "1000000000000", *OUT],
        [CONFIG, "--seeds", "-1", *OUT],
        [CONFIG, "--seeds", "99999999999999999999999", *OUT],
        [CONFIG, "--modes", "thawed", *OUT],
        [CONFIG, "--baselines", "none", *OUT],
        [CONFIG, "--device", "gpu", *OUT],
        [CONFIG, "--device", "cuda:99", *OUT],
        [CONFIG, "--device", "", "--cfg-options", "evaluation.knn.k=0", *OUT],
        [CONFIG, "--cfg-options", "evaluation_dataset=None", *OUT],
        [CONFIG, "--cfg-options", "evaluation=3", *OUT],
        [CONFIG, "--cfg-options", "evaluation.nkk.k=3", *OUT],
        [CONFIG, "--cfg-options", "model.backbone.in_channels=1", *OUT],
        [CONFIG, "--out", "{text}"],
    ],
    "audit": [
        [],
        ["nowhere.py"],
        ["{text}"],
        [CONFIG, "--out", "{folder}"],
        [CONFIG, "--cfg-options", "evaluation_dataset=None", "train_dataloader.dataset=None"],
        [CONFIG, "--cfg-options", "evaluation_dataset.type=NoSuch"],
    ],
    "compare": [
        [],
        ["{folder}"],
        ["nowhere", "{folder}"],
        ["{text}", "{text}"],
        ["{results}", "{results}"],
        ["{results}", "{results}", "--which", "first"],
        ["{folder}", "{results}", "--methods", "one"],
    ],
    "export": [
        [],
        ["{text}"],
        ["nowhere.pth", "--to", "timm"],
        ["{text}", "--to", "timm"],
        ["{folder}", "--to", "timm"],
        ["{text}", "--to", "onxx"],
        ["{text}", "--to", "onnx", "--config", "nowhere.py"],
        ["{text}", "--to", "onnx", "--image-size", "0"],
        ["{text}", "--to", "onnx", "--image-size", "big"],
    ],
    "table": [
        [],
        ["nowhere.py"],
        ["{text}"],
        ["trimix_table1", "--only", "method"],
        ["trimix_table1", "--only", "method=none"],
        ["trimix_table1", "--seeds", "0", "0"],
        ["trimix_table1", "--seeds", "x"],
        ["trimix_table1", "--gpus", "99"],
        ["trimix_table1", "--workers", "0"],
        ["trimix_table1", "--cfg-options", "novalue"],
        ["trimix_table1", "--cfg-options", "no.such.key=1"],
        ["trimix_table1"],
        ["--work", "{folder}"],
    ],
    "pack": [
        [],
        ["nowhere.py"],
    ],
    "predict": [
        [],
        ["nowhere.pth", "{folder}"],
        ["{text}", "{folder}"],
        ["{text}", "nowhere"],
        ["{text}", "{text}", "--batch-size", "0"],
        ["{text}", "{text}", "--out", "{folder}"],
    ],
    "sweep": [
        [],
        [CONFIG],
        ["nowhere.py", "a=1,2"],
        [CONFIG, "a"],
        [CONFIG, "a="],
        [CONFIG, "=1,2"],
        [CONFIG, "no.such.key=1,2"],
        [CONFIG, "train_cfg.max_epochs=1,1"],
        [CONFIG, "train_cfg.max_epochs=1,2", "train_cfg.max_epochs=3,4"],
        [CONFIG, "train_cfg.max_epochs=0,1"],
        [CONFIG, "model.type=SimCLR,NoSuch"],
        [CONFIG, "work_dir=a,b"],
        [CONFIG, "train_cfg.max_epochs=1,2", "--seeds", "0", "0"],
        [CONFIG, "train_cfg.max_epochs=1,2", "--seeds", "x"],
        [CONFIG, "train_cfg.max_epochs=1,2", "--protocols", "nkk"],
        [CONFIG, "train_cfg.max_epochs=1,2", "--cfg-options", "novalue"],
        [CONFIG, "train_cfg.max_epochs=1,2", "--", "--work-dir", "x"],
    ],
    "report": [
        [],
        ["nowhere", *OUT],
        ["{folder}", *OUT],
        ["{text}", *OUT],
        ["{results}", *OUT],
        ["{results}", "--metric", "nothing", *OUT],
        ["{folder}", "--which", "first", *OUT],
        ["{folder}", "--smoothing", "1", *OUT],
        ["{folder}", "--smoothing", "nan", *OUT],
        ["{folder}", "--layout", "wide", *OUT],
        ["{folder}", "--references", "{text}", *OUT],
        ["{folder}", "--layout", "budgets", "--references", "nowhere.yml", *OUT],
        ["{folder}", "--layout", "budgets", "--references", "{binary}", *OUT],
    ],
    "explore": [
        [],
        ["nowhere", *OUT],
        [RUN, *OUT],
        ["{text}", *OUT],
        ["{binary}", *OUT],
        [RUN, "--config", "nowhere.py", *OUT],
        [RUN, "--out", RUN],
        [RUN, "--projections", "mds", *OUT],
        [RUN, "--limit", "1", *OUT],
        [RUN, "--limit", "x", *OUT],
        [RUN, RUN, RUN, *OUT],
    ],
    "visualize": [
        [],
        ["no-such-figure"],
        ["views", "nowhere.py", *OUT],
        ["views", CONFIG, "--images", "0", *OUT],
        ["views", CONFIG, "--images", "-3", *OUT],
        ["views", CONFIG, "--images", "x", *OUT],
        ["curves", *OUT],
        ["curves", "nowhere", *OUT],
        ["curves", "{folder}", *OUT],
        ["curves", "{text}", *OUT],
        ["curves", "{folder}", "--smoothing", "2", *OUT],
        ["curves", "{folder}", "--x", "moon", *OUT],
        ["matrices", CONFIG, *OUT],
        ["matrices", CONFIG, "nowhere.pth", *OUT],
        ["matrices", CONFIG, "{text}", *OUT],
        ["matrices", CONFIG, "{text}", "--lam", "nan", *OUT],
        ["scores", "nowhere.json", *OUT],
        ["scores", "{text}", *OUT],
        ["scores", "{results}", *OUT],
        ["embed", CONFIG, *OUT],
        ["embed", CONFIG, "nowhere.pth", *OUT],
        ["embed", CONFIG, "{text}", "--method", "magic", *OUT],
        ["embed", CONFIG, "{text}", "--points", "0", *OUT],
        ["embed", CONFIG, "{text}", "--perplexity", "-1", *OUT],
        ["confusion", "nowhere.json", *OUT],
        ["confusion", "{results}", *OUT],
        ["confusion", CONFIG, "{text}", *OUT],
        ["detections", CONFIG, "{text}", *OUT],
        ["mixing", CONFIG, "--policies", "magic", *OUT],
        ["mixing", CONFIG, "--lams", "2", *OUT],
        ["mixing", CONFIG, "--lams", "nan", *OUT],
        ["mixing", "nowhere.py", *OUT],
        ["grid", "nowhere", *OUT],
        ["grid", "{folder}", *OUT],
        ["grid", "{folder}", "--where", "x", *OUT],
    ],
    "benchmark": [
        [],
        ["no-such-benchmark"],
        ["augment", "--sequence", "magic"],
        ["step", "--method", "magic"],
        ["step", "--config", "nowhere.py"],
        ["step", "--config", "{broken}"],
        ["step", "--method", "amix", "--cfg-options", "model.alpha=1"],
        ["step", "--pairs", "4"],
        ["augment", "--batch-size", "0"],
        ["augment", "--size", "-3"],
        ["augment", "--threads", "0"],
        ["knn", "--bank", "0"],
        ["knn", "--k", "9", "--bank", "3"],
        ["knn", "--dim", "wide"],
        ["linear", "--epochs", "0"],
        ["linear", "--rows", "-1"],
        ["epoch", "--variants", "float8"],
        ["epoch", "--config", "nowhere.py"],
        ["epoch", "--images", "0"],
        ["files", "--workers", "-1"],
        ["files", "--steps", "0"],
        ["memory", "--methods", "magic"],
        ["memory", "--config", "nowhere.py"],
        ["memory", "--methods", "byol", "--config", CONFIG],
        ["peers", "--methods", "magic"],
        ["peers", "--stem", "vgg"],
        ["peers", "--workers", "-1"],
        ["scaling", "--config", "nowhere.py"],
        ["scaling", "--batch-size", "3"],
        ["scaling", "--timeout", "0"],
    ],
}


@pytest.fixture
def places(tmp_path, tiny_config):
    """Files named by the command lines."""
    folder = tmp_path / "files"
    folder.mkdir()
    names = ("config.py", "broken.py", "other.py", "text.txt", "binary.py", "results.json")
    found = {name.partition(".")[0]: folder / name for name in names}
    tiny_config.dump(found["config"])
    found["broken"].write_text("model = dict(\n")
    found["other"].write_text("model = 3\n")
    found["text"].write_text("just text\n")
    found["binary"].write_bytes(bytes(range(256)))
    found["results"].write_text('[{"protocol": 3}]')
    (tmp_path / "empty").mkdir()
    return {**found, "folder": tmp_path / "empty", "out": tmp_path / "out"}


def tool(name):
    return importlib.import_module(
        name if name == "benchmark" else f"ssl_ext.cli.{name.replace('-', '_')}"
    ).main


def test_every_tool_is_listed():
    assert sorted(WRONG) == sorted(path.stem.replace("_", "-") for path in TOOLS.glob("[!_]*.py"))


def fault(main, capsys):
    """Run a tool; return a description of a wrong exit, or None."""
    try:
        run_tool(main)
    except SystemExit as ended:
        said = capsys.readouterr()
        errors = [line for line in said.err.splitlines() if "error: " in line]
        if ended.code in (0, None) or "Traceback" in said.err + said.out:
            return f"status {ended.code}, {said.err}"
        if len(errors) != 1 or len(errors[0].partition("error: ")[2]) < 15:
            return f"no single sentence: {said.err}"
        return None
    except Exception as error:
        capsys.readouterr()
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments(name, places, tmp_path, monkeypatch, capsys):
    main = tool(name)
    # Loggers of earlier tests hold closed streams.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.chdir(tmp_path / "empty")
    before = sorted(tmp_path.rglob("*"))
    faults = {}
    for arguments in WRONG[name]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *(word.format(**places) for word in arguments)])
        if found := fault(main, capsys):
            faults[" ".join(arguments)] = found
        if sorted(tmp_path.rglob("*")) != before:
            faults[" ".join(arguments)] = "it wrote something"
            before = sorted(tmp_path.rglob("*"))
    assert not faults, "\n".join(f"{key}: {value}" for key, value in faults.items())
