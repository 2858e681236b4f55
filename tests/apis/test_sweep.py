"""A sweep trains every point once, keeps finished results and continues after a failing point."""

import json
from pathlib import Path

import pytest
import torch

from ssl_ext.apis.sweep import sweep
from ssl_ext.apis.sweep.grid import parse_axis, settings_of
from ssl_ext.apis.sweep.points import Point, accuracy_lines, sweep_table
from ssl_ext.cli.sweep import main
from ssl_ext.config.networks import random_network
from ssl_ext.errors import UserError
from ssl_ext.visualization import sweep_lines

# Replaces tools/train.py: records its arguments and writes a checkpoint; fails if a file requests it.
FAKE = """
import json, pathlib, shutil, sys
here, args = pathlib.Path(__file__).parent, sys.argv[1:]
folder = pathlib.Path(args[args.index("--work-dir") + 1])
folder.mkdir(exist_ok=True)
with open(folder / "calls.jsonl", "a") as file:
    file.write(json.dumps(args) + "\\n")
shutil.copy(here / "start.pth", folder / "epoch_1.pth")
(folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
if (here / "fails").is_file() and (here / "fails").read_text() in args:
    sys.exit("error: out of luck")
"""


@pytest.fixture
def train_tool(tiny_config, tmp_path):
    folder = tmp_path / "fake"
    folder.mkdir()
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, folder / "start.pth")
    (folder / "train.py").write_text(FAKE)
    return folder / "train.py"


def calls(point):
    return [json.loads(line) for line in (Path(point.folder) / "calls.jsonl").read_text().splitlines()]


def test_points_are_trained_once_and_failures_are_resumed(tiny_config_file, train_tool, tmp_path):
    grid = ["model.head.temperature=0.1,2", "train_dataloader.batch_size=64,128"]
    settings = dict(
        train_tool=train_tool,
        work_dir=tmp_path / "sweep",
        protocols=["knn"],
        options=["model.lam_per=epoch"],
        train_args=["--init", "weights.pth", "--amp"],
    )
    (train_tool.parent / "fails").write_text("train_dataloader.batch_size=128")
    points = sweep(tiny_config_file, grid, **settings)
    assert [tuple(point.settings.values()) for point in points] == [(0.1, 64), (0.1, 128), (2, 64), (2, 128)]
    assert [point.status for point in points] == ["done", "failed", "done", "failed"]
    assert "status 1: error: out of luck" in points[1].reason
    assert "out of luck" in Path(points[1].log).read_text()
    assert Path(points[0].folder).name == "model.head.temperature=0.1,train_dataloader.batch_size=64,seed=0"
    (arguments,) = calls(points[0])
    assert arguments == [
        *[str(tiny_config_file), "--work-dir", points[0].folder, "--seed", "0"],
        *["--resume", "auto", "--init", "weights.pth", "--amp", "--cfg-options", "model.lam_per=epoch"],
        *["model.head.temperature=0.1", "train_dataloader.batch_size=64"],
    ]
    results = json.loads((Path(points[0].folder) / "results.json").read_text())
    assert points[0].last == {"knn": results[0]["last"]}
    summary = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert summary["axes"] == [text.split("=")[0] for text in grid]
    assert [point["status"] for point in summary["points"]] == ["done", "failed", "done", "failed"]
    assert summary["points"][0]["last"] == points[0].last
    assert (tmp_path / "sweep" / "accuracy_knn.pdf").is_file()

    (train_tool.parent / "fails").unlink()
    again = sweep(tiny_config_file, grid, **settings)
    assert [point.status for point in again] == ["done"] * 4
    assert [len(calls(point)) for point in again] == [1, 2, 1, 2]
    resumed = calls(again[1])[1]
    assert resumed[resumed.index("--resume") + 1] == "auto"
    assert "--amp" in resumed

    # A changed evaluation recipe needs no training; a changed training recipe is an error.
    written = Path(again[0].folder, "results.json").stat().st_mtime_ns
    settings["options"] = ["model.lam_per=epoch", "evaluation.knn.k=3"]
    third = sweep(tiny_config_file, grid[:1] + ["train_dataloader.batch_size=64"], **settings)
    assert [len(calls(point)) for point in third] == [1, 1]
    assert Path(third[0].folder, "results.json").stat().st_mtime_ns > written
    settings["options"] = []
    with pytest.raises(UserError, match=r"temperature=0\.1.*another config"):
        sweep(tiny_config_file, grid, **settings)


def test_a_failing_evaluation_ends_one_point(tiny_config_file, train_tool, tmp_path):
    points = sweep(
        tiny_config_file,
        ["evaluation.knn.k=5,0"],
        train_tool=train_tool,
        work_dir=tmp_path / "sweep",
        protocols=["knn"],
        seeds=[0, 1],
    )
    assert [point.status for point in points] == ["done", "done", "failed", "failed"]
    assert "Traceback" in Path(points[2].log).read_text()
    assert len({point.folder for point in points}) == 4
    with open(tmp_path / "sweep" / "sweep.json") as file:
        assert json.load(file)["points"][1]["seed"] == 1


def test_real_training(tiny_config, tiny_config_file, tmp_path):
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.custom_hooks = []
    tiny_config.dump(tiny_config_file)
    points = sweep(
        tiny_config_file,
        ["train_dataloader.batch_size=512"],
        work_dir=tmp_path / "sweep",
        protocols=["knn"],
    )
    assert points[0].reason is None
    assert points[0].last["knn"]["acc"] > 0.5
    assert (Path(points[0].folder) / "epoch_1.pth").is_file()


@pytest.mark.parametrize(
    ("grid", "changes", "message"),
    [
        (["model.head.temperature"], {}, "not of the form key=a,b,c"),
        (["model.head.temperature=1,,2"], {}, "not of the form"),
        (["model.head.temperature=1,1"], {}, "a value twice"),
        (["model.head.temperature=1,-3"], {}, "model.head.temperature is -3"),
        (["modle.head.temperature=1"], {}, "no 'modle'"),
        (["views.4.repeats=1,2"], {}, "no '4'"),
        (["randomness.seed=1,2"], {}, "use --seeds"),
        (["model.lam_per=step", "model.lam_per=epoch"], {}, "model.lam_per is swept twice"),
        (["model.lam_per=step"], {"seeds": [1, 1]}, "--seeds"),
        (["model.lam_per=step"], {"protocols": ["nn"]}, "nn unknown; allowed are knn, linear"),
        (["model.lam_per=step"], {"train_args": ["--cfg", "a=1"]}, "--cfg is set by the sweep"),
        (["model.lam_per=step"], {"train_args": ["--seed=1"]}, "--seed=1 is set by the sweep"),
        (["model.lam_per=step"], {"options": ["novalue"]}, "novalue"),
        ([], {}, "Nothing to sweep"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tiny_config_file, tmp_path, grid, changes, message):
    with pytest.raises(UserError, match=message):
        sweep(tiny_config_file, grid, work_dir=tmp_path / "sweep", **changes)
    assert not (tmp_path / "sweep").exists()


def test_grid():
    axes = [parse_axis("a.x+b.y=1,2"), parse_axis("c=(1,2),'p,q'")]
    assert axes[0].label == "x+y"
    settings = settings_of(axes, [0, 7])
    assert len(settings) == 8
    assert settings[2].options == ["a.x=1", "b.y=1", "c='p,q'"]
    assert settings[-1].options[:2] == ["a.x=2", "b.y=2"]
    assert settings[1].folder == "a.x+b.y=1,c=(1,2),seed=7"
    long = settings_of([parse_axis(f"k={'/v' * 200},{'/v' * 199}/w")], [0])
    names = {setting.folder for setting in long}
    assert len(names) == 2
    assert all(len(name) < 255 and "/" not in name for name in names)


def point(settings, seed, acc):
    scores = {} if acc is None else {"knn": {"acc": acc}}
    return Point(settings, seed, "f", "l", "failed" if acc is None else "done", None, scores, scores)


def test_lines_and_table_are_means_over_seeds():
    points = [
        point({"a.size": 64, "b": "x"}, 0, 0.5),
        point({"a.size": 64, "b": "x"}, 1, 0.7),
        point({"a.size": 64, "b": "y"}, 0, 0.25),
        point({"a.size": 64, "b": "y"}, 1, None),
        point({"a.size": 512, "b": "x"}, 0, None),
        point({"a.size": 512, "b": "x"}, 1, None),
    ]
    lines = accuracy_lines(points, "knn")
    assert lines == {
        "x": [(64, pytest.approx(60), pytest.approx(14.142, abs=1e-3))],
        "y": [(64, pytest.approx(25), None)],
    }
    columns = [list(column.cells) for column in sweep_table(points, ["knn"]).columns]
    assert columns[2] == ["60.00 ± 14.14 (n=2)", "25.00 (n=1) (1 of 2 failed)", "2 of 2 failed"]


def test_an_undefined_accuracy_is_no_traceback():
    points = [point({"lr": lr}, seed, float("nan")) for lr in (1, 2) for seed in (0, 1)]
    points[3].last = {"knn": {}}
    (line,) = accuracy_lines(points, "knn").values()
    assert all(mean != mean for _, mean, _ in line)
    assert sweep_lines({"": line}, x_label="lr").axes[0].get_ylim()[1] <= 100
    assert list(sweep_table(points, ["knn"]).columns[1].cells) == ["-", "-"]


def test_sweep_lines_draws_numbers_at_their_places():
    figure = sweep_lines(
        {"16": [(512, 3.0, None), (64, 1.0, 0.5)], "32": [(128, 2.0, None)]}, x_label="batch", legend="size"
    )
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata().tolist() == [64, 512]
    assert axes.lines[0].get_ydata().tolist() == [1, 3]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["512", "64", "128"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["16", "32"]
    words = sweep_lines({"": [("step", 1.0, None), ("epoch", 2.0, None)]}, x_label="lam_per").axes[0]
    assert words.lines[0].get_xdata().tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least one point"):
        sweep_lines({}, x_label="batch")


def test_tool_separates_training_arguments(tiny_config_file, monkeypatch, capsys):
    given = {}

    def fake(config, grid, **settings):
        given.update(settings, config=config, grid=grid)
        return [point({"a": 1}, 0, 0.5), point({"a": 2}, 0, None)]

    monkeypatch.setattr("ssl_ext.apis.sweep.sweep", fake)
    words = [
        str(tiny_config_file),
        "a=1,2",
        "--protocols",
        "knn",
        "--cfg-options",
        "b=3",
        "--",
        "--amp",
        "--compile",
    ]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 1
    assert given["train_args"] == ["--amp", "--compile"]
    assert (given["grid"], given["options"], given["work_dir"]) == (["a=1,2"], ["b=3"], None)
    assert "log: l" in capsys.readouterr().out
