"""Changed result files, sweeps and logs: each is read, or refused in one sentence that names the file."""

import copy
import json
import os
from contextlib import suppress
from dataclasses import asdict
from functools import partial

import pytest

from ssl_ext.apis import figures
from ssl_ext.apis.report import report
from ssl_ext.apis.tables import Cell, Job, Plan, State, read_job, read_plan, read_state
from ssl_ext.errors import UserError
from ssl_ext.evaluation import ResultRow, read_results, results_table
from ssl_ext.json_files import read_json

LEAVES = [None, "a\0b", -1, 10**400, float("inf"), [], {}, [[1]]]
METRICS = dict(acc=0.9, auc=None, confusion=[[3, 1], [0, 4]])
ROW = asdict(
    ResultRow(
        "SimCLR",
        "linear",
        METRICS,
        {},
        dict(labels=dict(short_classes={}), chosen_on_validation=dict(validation_accuracy={"1": 0.5}), l2=1),
        dict(train=8, test=8),
        0,
        cost=dict(wall_s=1.5, peak_rss_mib=100.0),
        source=dict(
            checkpoint=dict(path="run/epoch_1.pth", sha256="ab"),
            pretraining=dict(
                datasets=[dict(type="Digits")], seed=0, iter=9, initial_weights=dict(sha256="a")
            ),
            network=dict(backbone=dict(depth=18), neck=None),
            dataset=dict(type="NPZDataset", data_root="a.npz"),
            data=dict(train=dict(fingerprint="x")),
            classes=["a", "b"],
            config="a.py",
            config_hash="c",
            versions=dict(torch="2"),
            device="cpu",
        ),
    )
)
POINT = dict(
    settings={"lr": 0.1, "k": "a"}, seed=0, folder="f", log="l", status="done", reason=None,
    last=dict(knn=dict(METRICS)), best={},
)  # fmt: skip
SWEEP = dict(axes=["lr", "k"], protocols=["knn"], points=[POINT, POINT | dict(status="failed", last={})])


def mutations(value, put):
    """Every nested entry of ``value`` left out or replaced by another value."""
    for leaf in LEAVES:
        yield put(leaf)
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):

            def inside(leaf, key=key):
                changed = copy.copy(value)
                changed[key] = leaf
                return put(changed)

            if isinstance(value, dict):
                yield put({name: item for name, item in value.items() if name != key})
            yield from mutations(value[key], inside)


def both(contents, read, path):
    """Count the contents that are read and those that are refused."""
    done = [0, 0]
    for changed in contents:
        path.write_text(json.dumps(changed))
        try:
            read()
            done[0] += 1
        except UserError as error:
            text = str(error)
            assert "\n" not in text and len(text) < 800, text
            done[1] += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} {error}: {path.read_text()}") from error
    return done


@pytest.mark.filterwarnings("ignore")
def test_results(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    monkeypatch.setattr("ssl_ext.apis.report.run.render_page", lambda *args, **kwargs: "")
    monkeypatch.setattr("ssl_ext.apis.figures.confusion.confusion_heatmap", lambda *args, **kwargs: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    def read():
        rows = read_results(path)
        results_table(rows) if rows else None
        with suppress(UserError):  # several measurements
            figures.confusion_figure([path])
        report([path], out_dir=tmp_path / "out")

    good, bad = both(mutations(ROW, lambda row: [ROW | dict(seed=1), row]), read, path)
    assert good > 120 and bad > 120


def test_sweeps(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_ext.apis.figures.sweep.sweep_lines", lambda lines, **kwargs: lines)
    contents = mutations(SWEEP, lambda value: value)
    good, bad = both(contents, lambda: figures.grid_figure(tmp_path), tmp_path / "sweep.json")
    assert good > 50 and bad > 50


def test_tables(tmp_path):
    job = Job("a", "pretrain", ["ssl-ext"], "/", after=["b"], options=["a=1"], results="run/results.json")
    cell = Cell(dict(data="a"), 0, 1.5, "acc", "a", ["a=1"], "a", "b", dict(seed=0), note="x")
    plan = Plan("a", None, ["data"], [], "", "%", [], [0], [cell], ["a"], dict(a=2), ["x"])
    for name, content, read in (
        ("job.json", job, read_job), ("state.json", State(), read_state), ("plan.json", plan, read_plan)
    ):  # fmt: skip
        contents = mutations(asdict(content), lambda value: value)
        good, bad = both(contents, partial(read, tmp_path), tmp_path / name)
        assert good > 10 and bad > 30, name


@pytest.mark.filterwarnings("ignore")
def test_logs(tmp_path):
    log = tmp_path / "1" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    record = dict(step=1, loss=0.5, loss_a=[1], lr=0.1)

    def read():
        log.write_text(log.read_text() + '\n{"step": 2, "loss": 0.4}\n')
        figures.curves_figure([tmp_path])

    good, bad = both(mutations(record, lambda value: value), read, log)
    assert good > 30 and bad > 10


FILES = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "101 deep": b"[" * 101 + b"]" * 101,
    "many digits": b"[" + b"9" * 10_000 + b"]",
    "no UTF-8": b'["\xff"]',
    "empty": b"",
    "cut": b'[{"method": ',
    "numbers": b"[1, 2] 3",
}


@pytest.mark.parametrize("name", FILES)
def test_other_bytes(name, tmp_path):
    (tmp_path / "a.json").write_bytes(FILES[name])
    with pytest.raises(UserError, match=r"a\.json' is not a table") as raised:
        read_json(tmp_path / "a.json", list, "a table")
    assert "\n" not in str(raised.value)


def test_what_is_no_file_or_too_large(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(5 * 2**30)
    words = {
        tmp_path / "pipe": "is a pipe or a device",
        "/dev/zero": "is a pipe or a device",
        tmp_path: "is a folder",
        tmp_path / "link": "is a broken link to 'nowhere'",
        tmp_path / "none": "does not exist",
        tmp_path / "sparse": "is larger than",
        "a\0b": "is not a path",
    }
    for path, reason in words.items():
        with pytest.raises(UserError, match=reason):
            read_results(path)


def test_a_byte_order_mark_and_99_levels_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + b"[" * 99 + b"]" * 99)
    assert len(read_json(tmp_path / "a.json", list, "a table")) == 1
