"""Figures of config, network and logs; errors are one sentence."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch

from ssl_ext.apis import evaluate
from ssl_ext.apis.figures import (
    curves_figure,
    matrices_figure,
    scores_figure,
    views_figure,
)
from ssl_ext.config.networks import build_model, random_network
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError, run_tool
from ssl_ext.evaluation import ResultRow, write_results
from ssl_ext.files import distinct_names


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    path = tmp_path / "run" / "epoch_2.pth"
    path.parent.mkdir()
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, path)
    return path


def drawn(axes):
    return np.asarray(axes.get_images()[0].get_array())


def chosen_images(dataset, count, seed):
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
    return dataset.images[rows]


def test_views_are_those_of_the_preprocessor(tiny_config):
    figure = views_figure(tiny_config, images=3, seed=5)
    grid = np.array(figure.axes, dtype=object).reshape(3, 3)
    images = chosen_images(Digits("train", image_size=8), 3, seed=5)
    views = build_model(tiny_config).data_preprocessor.draw_views(images, torch.Generator().manual_seed(5))
    for column, expected in enumerate([images / 255, *views]):
        for row in range(3):
            np.testing.assert_allclose(
                drawn(grid[row, column]), expected[row].permute(1, 2, 0).numpy(), atol=1e-6
            )
    assert not torch.equal(*views)


@pytest.mark.parametrize(
    ("batch", "train_batch", "size"),
    [(4, 256, 256), (5, 256, 255), (10, 5000, 358), (5, 5000, 359), (6, 4, 6)],
)
def test_matrices_are_a_part_of_a_training_batch(tiny_config, checkpoint, batch, train_batch, size):
    """Reference: the whole batch step by step, then rows and columns of both ends and the middle."""
    lam = 0.7
    figure = matrices_figure(
        tiny_config,
        checkpoint,
        batch=batch,
        lam=lam,
        seed=3,
        options={"train_dataloader.batch_size": train_batch, "model.head.temperature": 0.5},
    )
    images = chosen_images(Digits("test", image_size=8), size, seed=3) / 255
    mixed = lam * images + (1 - lam) * images.flip(0)
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))

    def standardized(x):
        with torch.no_grad():
            z = network.project(network.extract_embedding((x - 0.5) / 0.5)).double()
        return (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()

    z, z_virtual = standardized(images), standardized(mixed)
    spread = (z_virtual.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    z_virtual = (z_virtual - z_virtual.mean(1, keepdim=True)) / spread
    cosine = torch.nn.functional.cosine_similarity(z[:, None], z_virtual[None], dim=2)
    half, middle = batch // 2, [size // 2] if batch % 2 else []
    shown = [*range(half), *middle, *range(size - half, size)]
    cosine = cosine[shown][:, shown]

    target, similarity, softmax = (figure.axes[4 * panel] for panel in range(3))
    expected = lam * np.eye(batch) + (1 - lam) * np.eye(batch)[::-1]
    np.testing.assert_allclose(drawn(target), expected, atol=1e-6)
    np.testing.assert_allclose(drawn(similarity), cosine.T.numpy(), atol=2e-3)
    np.testing.assert_allclose(drawn(softmax), (cosine / 0.5).softmax(1).T.numpy(), atol=2e-3)
    above, beside = drawn(figure.axes[1]), drawn(figure.axes[2])
    np.testing.assert_allclose(above, np.concatenate(images[shown].permute(0, 2, 3, 1).numpy(), 1), atol=1e-6)
    np.testing.assert_allclose(beside, np.concatenate(mixed[shown].permute(0, 2, 3, 1).numpy()), atol=1e-6)


def test_matrices_compare_what_the_head_compares(tiny_config, checkpoint):
    on_z = matrices_figure(tiny_config, checkpoint, batch=4)
    on_y = matrices_figure(tiny_config, checkpoint, batch=4, options={"model.head.virtual_on": "y"})
    assert np.abs(drawn(on_z.axes[4]) - drawn(on_y.axes[4])).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"lam": 1.2}, {}, "--lam is 1.2"),
        ({"batch": 1}, {}, "--batch is 1; from 2 to 32"),
        ({"batch": 33}, {}, "--batch is 33"),
        ({"split": "tests"}, {}, "evaluation_dataset.*tests"),
        (
            {},
            {"model.head.virtual_weight": 0, "model.head.consistency_weight": 0},
            "does not use virtual embeddings",
        ),
    ],
)
def test_matrices_refuse(tiny_config, checkpoint, arguments, options, message):
    with pytest.raises(UserError, match=message):
        matrices_figure(tiny_config, checkpoint, options=options, **arguments)


def test_matrices_refuse_other_algorithms_and_absent_checkpoints(tiny_config, checkpoint):
    with pytest.raises(UserError, match=r"absent\.pth"):
        matrices_figure(tiny_config, checkpoint.parent / "absent.pth")
    tiny_config.model.update(type="ssl_ext.BarlowTwins", head=dict(type="BarlowTwinsHead"))
    with pytest.raises(UserError, match="BarlowTwinsHead does not use virtual"):
        matrices_figure(tiny_config, checkpoint)


def test_matrices_refuse_a_backbone_without_projector(tiny_config, checkpoint):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    torch.save({k: v for k, v in state.items() if k.startswith("backbone.")}, checkpoint)
    with pytest.raises(UserError, match="no projector"):
        matrices_figure(tiny_config, checkpoint)


def write_log(run, values):
    log = run / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    lines = [json.dumps(dict(step=step, loss=v, loss_a=v / 2)) for step, v in enumerate(values)]
    log.write_text("\n".join(lines))


def test_curves_of_runs(tmp_path):
    write_log(tmp_path / "runs" / "one" / "x", [4.0, 2.0, 1.0])
    write_log(tmp_path / "runs" / "two" / "x", [3.0, 3.0, 3.0])
    figure = curves_figure([tmp_path / "runs" / name / "x" for name in ("one", "two")], smoothing=0)
    total, term = figure.axes
    assert [line.get_label() for line in total.lines] == ["one", "two"]
    assert [line.get_ydata().tolist() for line in total.lines] == [[4, 2, 1], [3, 3, 3]]
    assert term.lines[0].get_ydata().tolist() == [2, 1, 0.5]
    titled = curves_figure([tmp_path / "runs/one/x", tmp_path / "runs/two/x"], titles=["ours", "theirs"])
    assert [text.get_text() for text in titled.legends[0].get_texts()] == ["ours", "theirs"]
    with pytest.raises(UserError, match="--titles 'ours': give 2 different titles"):
        curves_figure([tmp_path / "runs/one/x", tmp_path / "runs/two/x"], titles=["ours"])
    assert len(curves_figure([tmp_path / "runs/one/x"], keys=["loss_a"]).axes) == 1
    with pytest.raises(UserError, match="no run has logged.*loss_b"):
        curves_figure([tmp_path / "runs/one/x"], keys=["loss_b"])
    with pytest.raises(UserError, match="no log .*absent"):
        curves_figure([tmp_path / "absent"])


def test_curves_of_trained_networks(tmp_path):
    curves = dict(step=[5, 10], epoch=[1, 2], loss=[2.0, 1.0], acc=[0.2, 0.4], val_loss=[3.0, 2.0])

    def row(method, seed, shift, budget=100):
        own = {**curves, "val_acc": [0.1 + shift, 0.3 + shift]}
        return ResultRow(method, "supervised", {}, {}, {}, {}, seed, budget=budget, curves=own)

    path = tmp_path / "results.json"
    write_results(path, [row("supervised", 0, 0), row("supervised", 1, 0.2), row("supervised", 0, 0.5, 250)])
    figure = curves_figure([path], x="epoch", where=["budget=100"], smoothing=0)
    assert [axes.get_ylabel() for axes in figure.axes] == ["total loss", "accuracy (%)"]
    training, validation = figure.axes[1].lines
    assert training.get_xdata().tolist() == [1, 2] and training.get_ydata().tolist() == [20, 40]
    assert validation.get_ydata().tolist() == pytest.approx([20, 40])  # mean over the seeds
    both = curves_figure([path], keys=["val_acc"])
    assert [text.get_text() for text in both.legends[0].texts] == [
        "supervised, 100 labels",
        "supervised, 250 labels",
    ]
    with pytest.raises(UserError, match="no matching training"):
        curves_figure([path], where=["budget=1000"])
    with pytest.raises(UserError, match="no run is one"):
        curves_figure([tmp_path], where=["budget=100"])
    short = ResultRow(
        "supervised", "supervised", {}, {}, {}, {}, 2, budget=100, curves=dict(curves, step=[5, 9])
    )
    write_results(path, [row("supervised", 0, 0), short])
    with pytest.raises(UserError, match="supervised, 100 labels have different lengths"):
        curves_figure([path])


def test_names_are_what_tells_paths_apart():
    assert distinct_names(["runs/a"]) == ["a"]
    assert distinct_names(["runs/a/r.json", "runs/b/c/r.json"]) == ["a", "b/c"]
    assert distinct_names(["runs/a", "runs/a/b"]) == ["a", "b"]
    with pytest.raises(UserError, match="twice"):
        distinct_names(["runs/a", "./runs/a"])


def test_scores_of_one_evaluation(tiny_config, checkpoint):
    rows = evaluate(tiny_config, checkpoint, protocols=["knn"], labels_per_class=[3], draws=2, device="cpu")
    results = checkpoint.parent / "evaluation" / "results.json"
    axes = scores_figure([results]).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [" ".join(label.split()) for label in labels] == ["kNN", "linear, 3 labels/class, custom"]
    assert axes.texts[0].get_text().strip() == "TriMix"
    widths = [bar.get_width() for bar in axes.patches]
    mean = 50 * (rows[1].last["acc"] + rows[2].last["acc"])
    assert widths == pytest.approx([100 * rows[0].last["acc"], mean])
    texts = [text.get_text() for text in axes.texts[1:]]
    assert ["±" in text for text in texts] == [False, True]


@pytest.mark.parametrize("content", [None, "{", "[1]", '[{"a": 1}]', "[]"])
def test_scores_refuse_other_files(tmp_path, content):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"does not exist|not a results\.json|at least one row"):
        scores_figure([path])


def test_views_refuse(tiny_config):
    with pytest.raises(UserError, match="--images is 65; from 1 to 64"):
        views_figure(tiny_config, images=65)
    with pytest.raises(UserError, match="views is missing or empty"):
        views_figure(tiny_config, options={"views": []})


def test_tool_writes_both_formats_or_one_line(tiny_config_file, tmp_path, monkeypatch, capsys):
    tool = importlib.import_module("ssl_ext.cli.visualize")
    words = ["visualize.py", "views", str(tiny_config_file), "--images", "2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*words, "--cfg-options", "novalue"])
    with pytest.raises(SystemExit) as ended:
        run_tool(tool.main)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "novalue" in error
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(sys, "argv", words)
    run_tool(tool.main)
    said = capsys.readouterr().out
    for suffix in ("png", "pdf"):
        assert f"wrote {tmp_path}/out/views.{suffix}" in said
        assert (tmp_path / "out" / f"views.{suffix}").stat().st_size > 1000
