"""A sweep trains every point once, keeps finished results and continues after a failing point."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from tables import ForkedLocal

from ssl_ext.apis.sweep import sweep
from ssl_ext.apis.sweep.grid import parse_axis, settings_of
from ssl_ext.apis.sweep.points import Point, accuracy_lines, sweep_table
from ssl_ext.cli.sweep import main
from ssl_ext.errors import UserError
from ssl_ext.visualization import sweep_lines


@pytest.fixture
def run(tiny_config, tiny_config_file, tmp_path, monkeypatch):
    """Sweep a tiny config of one epoch in forked processes; points run one after another."""
    monkeypatch.setattr("ssl_ext.apis.tables.starters.Local", ForkedLocal)
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.custom_hooks = []
    tiny_config.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    tiny_config.dump(tiny_config_file)
    return partial(sweep, tiny_config_file, work_dir=tmp_path / "sweep")


def tries(folder, stage):
    return [json.loads(path.read_text())["tries"] for path in folder.glob(f"jobs/{stage}-*/state.json")]


def test_points_are_trained_once_and_failures_are_tried_again(run, tmp_path):
    # No images are left for a batch of 5,000.
    grid = ["model.head.temperature=0.1,2", "train_dataloader.batch_size=512,5000"]
    points = run(grid, options=["model.lam_per=epoch"])
    assert [tuple(point.settings.values()) for point in points] == [
        *[(0.1, 512), (0.1, 5000), (2, 512), (2, 5000)],
    ]
    assert [point.status for point in points] == ["done", "failed", "done", "failed"]
    assert "training exited with status 2: The training split has" in points[1].reason
    assert "The training split has" in Path(points[1].log).read_text()
    folder = Path(points[0].folder)
    assert folder.name == "model.head.temperature=0.1,train_dataloader.batch_size=512,seed=0"
    assert (folder / "epoch_1.pth").is_file()
    assert points[0].last["knn"]["acc"] > 0.5
    assert set(points[0].last) == set(points[0].best) == {"knn", "linear"}
    summary = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert summary["axes"] == [text.split("=")[0] for text in grid]
    assert [point["status"] for point in summary["points"]] == ["done", "failed", "done", "failed"]
    assert summary["points"][0]["last"] == points[0].last
    assert (tmp_path / "sweep" / "accuracy_knn.pdf").is_file()

    # Another evaluation recipe needs no training; other training settings are another training.
    again = run(
        [grid[0], "train_dataloader.batch_size=512"], options=["model.lam_per=epoch", "evaluation.knn.k=3"]
    )
    assert [point.status for point in again] == ["done", "done"]
    assert again[0].last["knn"] != points[0].last["knn"]
    assert sorted(tries(tmp_path / "sweep", "pretrain")) == [1, 1, 1, 1]
    assert tries(tmp_path / "sweep", "evaluate").count(1) == 4
    run([grid[0], "train_dataloader.batch_size=5000"], options=["model.lam_per=epoch"])
    assert sorted(tries(tmp_path / "sweep", "pretrain")) == [1, 1, 2, 2]


def test_a_dry_run_prints_the_runs_and_writes_nothing(tiny_config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    words = [str(tiny_config_file), "model.head.temperature=0.1,2", "--work-dir", str(tmp_path / "sweep")]
    main([*words, "--seeds", "0", "1", "--dry-run"])
    printed = capsys.readouterr().out
    assert re.search(r"pretrain .*temperature=0.1 .* 8 .*0 1 .*2 open", printed), printed
    assert "pretrain: 4 open\nevaluate: 4 open" in printed and not (tmp_path / "sweep").exists()


def test_a_folder_of_an_older_version(run, tmp_path):
    (tmp_path / "sweep" / "train_dataloader.batch_size=512,seed=0").mkdir(parents=True)
    with pytest.raises(UserError, match="a sweep of an older version"):
        run(["train_dataloader.batch_size=512"])


@pytest.mark.parametrize(
    ("grid", "changes", "message"),
    [
        (["model.head.temperature"], {}, "not of the form key=a,b,c"),
        (["model.head.temperature=1,,2"], {}, "not of the form"),
        (["model.head.temperature=1,1"], {}, "a value twice"),
        (["evaluation.knn.k=5,0"], {}, "k"),
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
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["size = 16", "size = 32"]
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
        "--workers=2",
        "--",
        "--amp",
        "--compile",
    ]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 1
    assert given["train_args"] == ["--amp", "--compile"] and given["workers"].n == 2
    assert (given["grid"], given["options"], given["work_dir"]) == (["a=1,2"], ["b=3"], None)
    assert "log: l" in capsys.readouterr().out
