"""Figure of a sweep: selected points, and messages about missing ones."""

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest

from ssl_ext.apis.figures.sweep import grid_figure
from ssl_ext.apis.sweep.points import Point
from ssl_ext.errors import UserError

BATCH, DIM, HEAD = (
    "train_dataloader.batch_size",
    "model.neck.hid_channels+model.neck.out_channels",
    "model.head.type",
)


def accuracy(batch, dim, head, seed):
    return (batch / 64 + dim / 10 + (head == "B") * 30 + seed) / 100


@pytest.fixture
def folder(tmp_path):
    points = [
        Point(
            {BATCH: batch, DIM: dim, HEAD: head},
            seed,
            "",
            "",
            "done",
            last={"knn": {"acc": accuracy(batch, dim, head, seed)}, "linear": {"acc": 0.5}},
        )
        for batch, dim, head, seed in itertools.product((64, 128), (128, 256), "AB", (0, 1))
    ]
    points[0].status = "failed"
    summary = dict(axes=[BATCH, DIM, HEAD], protocols=["knn", "linear"], points=[asdict(p) for p in points])
    (tmp_path / "sweep.json").write_text(json.dumps(summary))
    return tmp_path


def test_lines_over_one_key_for_each_value_of_another(folder):
    figure = grid_figure(folder, x="out_channels", y=BATCH, where=["type=B"])
    axes = figure.axes[0]
    lines = [container.lines[0].get_xydata().tolist() for container in axes.containers]
    expected = [
        [[dim, 100 * np.mean([accuracy(batch, dim, "B", seed) for seed in (0, 1)])] for dim in (128, 256)]
        for batch in (64, 128)
    ]
    np.testing.assert_allclose(lines, expected)
    assert axes.get_xlabel() == "hid_channels\n+out_channels"
    assert axes.get_ylabel() == "kNN accuracy (%),\n± standard deviation"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "batch_size = 64",
        "batch_size = 128",
    ]


def test_map_leaves_failed_runs_out(folder):
    figure = grid_figure(folder, style="map", where=["type=A"])
    shown = figure.axes[0].get_images()[0].get_array()
    # One run of the first point failed; its other seed is left.
    means = [[accuracy(batch, dim, "A", 0.5) for batch in (64, 128)] for dim in (128, 256)]
    means[0][0] = accuracy(64, 128, "A", 1)
    np.testing.assert_allclose(shown, 100 * np.array(means))
    assert figure.axes[0].get_xlabel() == "batch_size"
    # Tukey's difference of four means: q(0.95; 4, 3) = 6.825; the runs of a setting differ by 1 point.
    noise = 6.825 * np.sqrt(0.5 / 2 * (1 + 1 / 2))
    assert figure.axes[1].get_ylabel() == f"kNN accuracy (%)\nbelow {noise:.2g} may be chance"
    low, high = figure.axes[0].get_images()[0].get_clim()
    assert high - low == pytest.approx(max(np.ptp(100 * np.array(means)), 2 * noise), rel=1e-3)


def test_one_key_and_another_protocol(folder):
    figure = grid_figure(folder, protocol="linear", where=["type=A", "batch_size=128"])
    assert not figure.legends and figure.axes[0].get_ylabel().startswith("linear accuracy (%)")
    figure = grid_figure(folder, y="type", where=[f"{DIM}=128"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["type = A", "type = B"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "varies model.head.type too: choose a value by --where model.head.type=VALUE"),
        (dict(x="channels"), "--x 'channels' is not one of the keys to draw"),
        (dict(where=["type=C"]), "--where type=C: the sweep has model.head.type = A, B"),
        (dict(protocol="semi"), "--protocol is 'semi'; the sweep has knn, linear"),
        (dict(style="pie"), "--style is 'pie'"),
        (dict(style="map", where=["type=A", "batch_size=64"]), "--style map needs two swept keys"),
        (dict(where=["type=A", "batch_size=64", "out_channels=128"]), "fixes every key"),
        (dict(x="batch_size", y="batch_size", where=["type=A"]), "--y 'batch_size' is not one of"),
    ],
)
def test_refusals(folder, arguments, message):
    with pytest.raises(UserError, match=message):
        grid_figure(folder, **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist; give the folder"), ("[]", "is not a"), ("{}", "is not a")],
)
def test_other_folders_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UserError, match=message):
        grid_figure(tmp_path)
