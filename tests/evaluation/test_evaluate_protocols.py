import importlib
import io
import json
import pickle
import re
import runpy
import statistics
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from digit_files import save_digits
from mmengine.config import Config
from rich.console import Console

from ssl_ext.apis import evaluate
from ssl_ext.apis.evaluate.checks import check_data
from ssl_ext.apis.evaluate.data import EvaluationData
from ssl_ext.apis.evaluate.draws import rows_of
from ssl_ext.apis.evaluate.plan import Labels
from ssl_ext.apis.evaluate.request import PROTOCOLS
from ssl_ext.config.networks import random_network
from ssl_ext.config.recipes import RECIPES, read_recipes
from ssl_ext.console import clock
from ssl_ext.datasets import ArrayDataset, Digits, NPZDataset
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Splits, aggregate, linear_rows, quality_figures, results_table
from ssl_ext.models.evaluated import EvaluatedModel, view_features
from ssl_ext.names import RECIPES as NAMES

PACKAGE = "ssl_ext.apis.evaluate"
NETWORKS = importlib.import_module(f"{PACKAGE}.networks")
TOOL = Path(__file__).parents[2] / "tools" / "evaluate.py"
SHORT = dict(epochs=2, min_steps=None, batch_size=8, lr=1e-2, evaluations=2)


def write_config(path, dataset):
    path.write_text(f"evaluation_dataset = {dataset!r}\n")


@pytest.fixture
def config(tiny_config, tmp_path):
    """The tiny network on 40 training, 20 validation and 100 test digits, with short recipes."""
    counts = dict(train=40, val=20, test=100)
    tiny_config.evaluation_dataset = save_digits(tmp_path / "digits.npz", counts)
    tiny_config.evaluation.update(
        knn=dict(k=[1, 5]),
        linear=dict(solver="sgd", epochs=2, lr=0.1),
        linear_aug=dict(epochs=1, milestones=[]),
        finetune=SHORT,
        cluster=dict(restarts=1),
    )
    return tiny_config


@pytest.fixture
def run(config, checkpoint, tmp_path):
    def evaluate_here(*protocols, weights=checkpoint, **settings):
        return evaluate(
            config, weights, protocols=protocols, out_dir=tmp_path / "out", device="cpu", **settings
        )

    return evaluate_here


@pytest.fixture
def said(monkeypatch):
    """Messages of the log."""
    messages = []
    for name in ("run", "checks", "rows", "protocols"):
        module = importlib.import_module(f"{PACKAGE}.{name}")
        monkeypatch.setattr(module, "print_log", lambda message, **_: messages.append(message))
    return messages


def tool(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_every_protocol_from_one_checkpoint_in_one_command(config, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    config.dump(tmp_path / "tiny.py")
    target = save_digits(tmp_path / "second.npz", dict(train=30, val=20, test=50))
    write_config(tmp_path / "other.py", target)
    words = "--budgets 12 all --fractions 0.5 1 --modes frozen unfrozen --labels-per-class 2 --draws 1"
    words += " --seeds 0 --baselines pixels untrained supervised --device cpu"
    arguments = [tmp_path / "tiny.py", checkpoint, "--protocols", *PROTOCOLS, *words.split()]
    tool([*arguments, "--transfer-to", tmp_path / "other.py", "--out", tmp_path / "out"], monkeypatch)
    printed = capsys.readouterr().out
    for heading in (
        "kNN", "linear-aug", "finetune", "50 % of labels", "12 labels, frozen", "12 labels, unfrozen",
        "transfer to other, unfrozen", "supervised to other", "NMI", "2 labels/class",
    ):  # fmt: skip
        assert heading in printed
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["protocol"] for row in rows} == set(PROTOCOLS)
    assert {row["method"] for row in rows} == {"TriMix", "pixels", "untrained", "supervised"}
    for row in rows:
        assert row["cost"]["wall_s"] >= 0
        assert row["source"]["versions"]["torch"]
        assert (row["target"] == "other") == row["source"]["dataset"]["data_root"].endswith("second.npz")
    subsets = np.load(tmp_path / "out" / "subsets.npz")
    for row in (row for row in rows if row["settings"]["labels"]["drawn"]):
        assert len(subsets[row["settings"]["labels"]["rows"]]) == row["sizes"]["train"]
    (semi,) = (row for row in rows if row["protocol"] == "semi" and row["fraction"] == 0.5)
    (whole,) = (row for row in rows if row["protocol"] == "finetune" and row["labels_per_class"] is None)
    assert semi["sizes"]["train"] < whole["sizes"]["train"] == 40


def test_semi_on_all_labels_is_finetune_and_so_is_a_transfer_to_the_same_set(run, config):
    (finetune,) = run("finetune")
    (semi,) = run("semi", fractions=[1.0])
    same = Config(dict(evaluation_dataset=config.evaluation_dataset.to_dict()))
    transfer = run("transfer", transfer_to=[same], modes=["frozen", "unfrozen"])
    budget = run("budget", budgets=["all"], modes=["frozen", "unfrozen"])
    (linear,) = run("linear")
    for row in (semi, transfer[1], budget[1]):
        assert (row.last, row.best) == (finetune.last, finetune.best)
    for row in (transfer[0], budget[0]):
        assert (row.last, row.best) == (linear.last, linear.best)
    assert transfer[0].settings["mean"] == [0.5] * 3
    assert [row.mode for row in transfer] == ["frozen", "unfrozen"]


def test_supervised_differs_from_finetune_in_the_initial_weights_alone(run, config, tmp_path):
    network = random_network(config, seed=3, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "start.pth")
    options = dict(seeds=[3], labels_per_class=[2], draws=1, modes=["unfrozen"])
    same_start = run("finetune", "supervised", weights=tmp_path / "start.pth", **options)
    rows = {(row.protocol, row.labels_per_class): row for row in same_start}
    assert rows["finetune", None].last == rows["supervised", None].last
    assert rows["finetune", None].settings == rows["supervised", None].settings
    other = {(row.protocol, row.labels_per_class): row for row in run("finetune", "supervised", **options)}
    assert other["finetune", None].last != other["supervised", None].last
    assert other["supervised", None].last == rows["supervised", None].last
    assert other["finetune", 2].settings["labels"] == other["supervised", 2].settings["labels"]


def test_the_network_under_evaluation_stays_as_it_is(run, config, monkeypatch):
    built = []

    def remember(*args, **kwargs):
        built.append(random_network(*args, **kwargs))
        return built[-1]

    monkeypatch.setattr(NETWORKS, "random_network", remember)
    seen = {}

    def keep(model, *args, **kwargs):
        report = load_weights(model, *args, **kwargs)
        seen.update({name: value.clone() for name, value in model.state_dict().items()})
        return report

    monkeypatch.setattr(NETWORKS, "load_weights", keep)
    run("knn", "linear", "linear-aug", "cluster", "finetune")
    after = built[0].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in seen.items())
    assert not built[0].training


def test_seeds_give_rows_of_their_own_and_mean_and_deviation(run, tmp_path):
    rows = run("knn", "linear", "budget", budgets=[12], draws=2, seeds=[0, 1, 1])
    assert [(row.protocol, row.seed, row.draw) for row in rows] == [
        (protocol, seed, draw)
        for seed in (0, 1)
        for protocol, draw in (("knn", None), ("linear", None), ("budget", 0), ("budget", 1))
    ]
    knn, linear, budget = ([row for row in rows if row.protocol == p] for p in ("knn", "linear", "budget"))
    assert knn[0].last == knn[1].last
    assert knn[0].cost == knn[1].cost  # measured once
    stats = {condition.protocol: stat for condition, stat in aggregate(rows)["TriMix"].items()}
    values = [row.last["acc"] for row in linear]
    assert stats["linear"][:3] == (statistics.fmean(values), statistics.stdev(values), 2)
    assert stats["budget"].n == 4
    # kNN has no seed: two rows of it are one measurement.
    assert stats["knn"][:3] == (knn[0].last["acc"], 0.0, 1)
    assert [one[0].settings.get("seed_matters") for one in (knn, linear)] == [False, None]
    subsets = dict(np.load(tmp_path / "out" / "subsets.npz"))
    assert len({tuple(subset) for subset in subsets.values()}) == 4
    assert [row.settings["labels"]["rows"] for row in budget] == list(subsets)
    again = run("budget", budgets=[12], draws=2, seeds=[0, 1])
    assert [row.last for row in again] == [row.last for row in budget]
    for name, subset in np.load(tmp_path / "out" / "subsets.npz").items():
        assert np.array_equal(subset, subsets[name])


def test_probes_on_equally_many_rows_are_fitted_together_with_the_same_rows_of_results(
    run, config, monkeypatch
):
    config.evaluation.linear = dict(solver="sgd", epochs=3, lr=0.1)
    asked = dict(budgets=[12], draws=2, seeds=[0, 1], labels_per_class=[1], baselines=["untrained"])
    rows = run("linear", "budget", **asked)
    shared = {(r.method, r.labels_per_class, r.budget): r.cost.get("fitted_together", 1) for r in rows}
    few = [(None, None), (1, None), (None, 12)]
    # An untrained network is another one for each seed.
    assert shared == {("TriMix", *one): 4 if any(one) else 2 for one in few} | {
        ("untrained", *one): 2 if any(one) else 1 for one in few
    }
    monkeypatch.setitem(linear_rows.TOGETHER, "cpu", 0)
    alone = run("linear", "budget", **asked)
    assert not any("fitted_together" in row.cost for row in alone)
    for one, other in zip(rows, alone, strict=True):
        assert replace(one, cost={}, source={}) == replace(other, cost={}, source={})


def test_features_in_bfloat16_state_their_error_and_are_cached_apart(run, config, checkpoint, tmp_path):
    exact = run("knn")[0]
    options = {"evaluation.precision": "bfloat16"}
    rows = run("knn", "linear", "linear-aug", "finetune", baselines=["pixels"], options=options)
    stated = {(row.method, row.protocol): row.settings.get("precision") for row in rows}
    low = [("TriMix", protocol) for protocol in ("knn", "linear", "linear-aug")]
    assert {one for one, precision in stated.items() if precision == "bfloat16"} == set(low)
    assert set(exact.settings) == set(rows[0].settings) - {"precision", "precision_error"}
    assert not rows[0].source["features"]["cached"]
    assert len(list((tmp_path / "out/features").iterdir())) == 6  # three splits in each precision
    network = random_network(config, seed=7, device=torch.device("cpu")).eval()
    images = network.data_preprocessor(dict(inputs=Digits("test", image_size=8).images[:100]), False)[
        "inputs"
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network.extract_embedding(images).float()
    with torch.no_grad():
        expected = network.extract_embedding(images)
    error = float((found - expected).norm() / expected.norm())
    assert 1e-4 < error < 0.05
    assert rows[0].settings["precision_error"] == pytest.approx(error, rel=1e-3)


def test_what_a_class_or_the_split_lacks_is_said_once(run, said):
    rows = run("budget", budgets=[1000], labels_per_class=[5], draws=2, seeds=[0, 1])
    per_class, budget = ([row for row in rows if row.budget == budget] for budget in (None, 1000))
    counts = np.bincount(Digits("train", image_size=8).labels[:40], minlength=10)
    short = {index: int(count) for index, count in enumerate(counts) if count < 5}
    assert short
    for row in per_class:
        assert row.settings["labels"]["short_classes"] == short
        assert row.sizes["train"] == np.minimum(counts, 5).sum()
    assert [row.sizes["train"] for row in budget] == [40] * 4
    assert sum("these classes have fewer" in message for message in said) == 1
    assert sum("only 40 can be drawn" in message for message in said) == 1


def test_quality_without_labels_is_of_all_training_images_and_of_views_of_some(run, config, checkpoint):
    config.evaluation.quality = dict(images=12, views=3)
    row, untrained = run("quality", baselines=["pixels", "untrained"], seeds=[5])
    assert (row.method, untrained.method, row.sizes) == ("TriMix", "untrained", {"train": 40})
    assert row.settings["views"] == 3 and "RandomResizedCrop" in row.settings["augment"]
    network = EvaluatedModel(random_network(config, seed=1, device=torch.device("cpu")))
    load_weights(network.model, checkpoint)
    network.eval()
    images = NPZDataset("train", **{k: v for k, v in config.evaluation_dataset.items() if k != "type"}).images
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(5))[:12].sort().values
    preprocessor = network.model.data_preprocessor
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        views = []
        for _ in range(3):
            torch.empty((), dtype=torch.int64).random_()  # drawn by the loader
            views.append(network(preprocessor.normalize(preprocessor.views[0](images[rows]))))
        expected = quality_figures(network.embed(images), torch.stack(views, 1))
    assert row.last == pytest.approx(expected, rel=1e-4)
    assert row.last["lidar"] != untrained.last["lidar"]
    state = torch.get_rng_state()
    again = view_features(network, Digits("test", image_size=8), images=9, views=2, seed=1)
    assert torch.equal(torch.get_rng_state(), state) and again.shape == (9, 2, 64)
    assert torch.equal(again, view_features(network, Digits("test", image_size=8), images=9, views=2, seed=1))
    assert not torch.equal(again[:, 0], again[:, 1])


def test_a_dry_run_prints_the_rows_to_come_and_loads_nothing(run, config, tmp_path, said, monkeypatch):
    config.evaluation_dataset = save_digits(tmp_path / "few.npz", dict(train=24, val=10, test=10))
    config.evaluation.finetune = dict(SHORT, epochs=1, batch_size=24, evaluations=1)
    write_config(tmp_path / "other.py", config.evaluation_dataset)
    asked = dict(
        budgets=[12, "all"], fractions=[0.5, 1], modes=["frozen", "unfrozen"], labels_per_class=[2], draws=2,
        seeds=[0, 1], baselines=["pixels", "untrained", "supervised"], transfer_to=[tmp_path / "other.py"],
    )  # fmt: skip
    steps = []
    with monkeypatch.context() as patch:
        # All rows are written again for each of the hundred.
        patch.setattr(importlib.import_module(f"{PACKAGE}.rows").ResultRows, "_write", lambda self: None)
        kept = importlib.import_module(f"{PACKAGE}.run")
        patch.setattr(kept, "progress", lambda words: nullcontext(steps.append(words)))
        rows = run(*PROTOCOLS, **asked)
    measured = [line.rpartition(":")[0] for line in said if line.endswith(" s")]
    said.clear()
    monkeypatch.setattr(NETWORKS, "random_network", None)
    assert run(*PROTOCOLS, **asked, dry_run=True) == []
    (text,) = said
    head, *planned = text.split("\n  ")
    kinds = ("finetune", "semi", "supervised", "linear-aug")
    trained = sum(row.protocol in kinds or row.mode == "unfrozen" for row in rows)
    assert head == f"{len(rows)} measurements, {trained} of them by training a network:"
    seconds = rows[-2].cost["wall_s"]
    assert "about" not in steps[1]
    assert steps[-1].startswith(f"{len(rows)} of {len(rows)}, about {clock(seconds)} left: ")
    run("knn", dry_run=True)
    assert said.pop() == "1 measurement:\n  TriMix: kNN, seed 0"
    assert planned == measured
    assert len(set(planned)) == len(planned)
    assert "supervised: supervised to other, all labels, seed 1" in planned


def test_a_training_that_fails_loses_no_earlier_row(run, config, tmp_path):
    config.evaluation.finetune.lr = 1e30
    with pytest.raises(UserError, match=r"finetune: the loss is nan .* evaluation.finetune.lr=1e\+30"):
        run("knn", "finetune")
    assert [row["protocol"] for row in json.loads((tmp_path / "out" / "results.json").read_text())] == ["knn"]


def test_other_processes_write_nothing(run, tmp_path, monkeypatch):
    for name in ("rows", "files"):
        monkeypatch.setattr(importlib.import_module(f"{PACKAGE}.{name}"), "is_main_process", lambda: False)
    assert len(run("knn", "budget", budgets=[12], draws=1, save=True)) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["features"]


def test_few_test_images_are_evaluated_with_a_warning(run, config, tmp_path, said):
    counts = dict(train=40, val=20, test=7)
    config.evaluation_dataset = save_digits(tmp_path / "few.npz", counts)
    rows = run("knn", "linear", "finetune")
    assert any("only 7 test images; one image changes accuracy by 14.3 points" in message for message in said)
    assert any(
        "AUC leaves out classes, because the test split has no image of" in message for message in said
    )
    assert sum("evaluation.finetune: " in line and " of 40 labelled images" in line for line in said) == 1
    assert all(0 <= row.last["auc"] <= 1 for row in rows)
    assert all(7 * row.last["acc"] == pytest.approx(round(7 * row.last["acc"])) for row in rows)


@pytest.mark.parametrize(
    ("train", "test", "task", "lines"),
    [
        ([0, 1, 2], [2, 0, 1], "multi-class", []),
        (
            [0, 1, 2],
            [2, 0, -1],
            "multi-class",
            ["AUC leaves out classes, because the test split has no image of .* b."],
        ),
        ([0, 1, 1], [2, 0, 1], "multi-class", ["train split has no image of .* c, which the test split has"]),
        ([0, 2, 2], [0, 0, 0], "multi-class", ["AUC is undefined, .* a, b, c[.]"]),
        ([0, 1, 1], [1, 1, 1], "binary", ["AUC is undefined, .* a, b[.]"]),
        ([[1, 0], [0, 1]], [[1, 1], [1, 0]], "multi-label", ["AUC leaves out classes, .* a[.]"]),
    ],
)
def test_classes_that_a_split_lacks_are_named(train, test, task, lines, said, monkeypatch):
    monkeypatch.setattr(importlib.import_module(f"{PACKAGE}.checks"), "check_images", lambda *_: None)
    classes = "abc" if task == "multi-class" else "ab"
    data = [
        ArrayDataset(np.zeros((len(labels), 1, 4, 4), np.uint8), np.array(labels), classes=classes, task=task)
        for labels in (train, test)
    ]
    check_data("evaluation_dataset", Splits(data[0], None, data[1], "test"), None, (4, 4))
    few, *found = said
    assert "only" in few and len(found) == len(lines)
    assert all(re.search(line, message) for line, message in zip(lines, found, strict=True))


def test_a_choice_without_a_validation_split_and_the_refit_on_exactly_the_drawn_rows(run, config, tmp_path):
    config.evaluation_dataset = save_digits(tmp_path / "two.npz", dict(train=40, test=20))
    rows = run(
        "linear", "linear-aug", "finetune", "semi", "budget", fractions=[0.5, 1], budgets=[12], draws=1,
        modes=["frozen", "unfrozen"],
    )  # fmt: skip
    for row in rows:
        whole = row.fraction in (None, 1) and row.budget is None
        drawn = 40 if whole else 12 if row.budget else row.sizes["train"]
        assert row.sizes["train"] == row.settings["labels"]["trained_on"] == drawn
        assert row.settings["fit_includes_validation"] is whole, row.protocol
        assert row.settings["val_split"] == "held out of train"
        assert 1 <= row.sizes["val"] <= 40 - drawn + 10 * whole
        assert row.settings["labels"]["chose"] == row.sizes["val"]
    (half,) = (row for row in rows if row.fraction == 0.5)
    counts = np.bincount(Digits("train", image_size=8).labels[:40], minlength=10)
    assert half.sizes["train"] == np.maximum(1, np.round(counts / 2)).sum()


@pytest.mark.parametrize("val", [True, False])
def test_rows_that_are_drawn_and_rows_that_choose(val, config, tmp_path):
    splits = dict(train=200, test=20, **(dict(val=30) if val else {}))
    config.evaluation_dataset = save_digits(tmp_path / "own.npz", splits)
    data = EvaluationData(config, loading={}, cache_dir=tmp_path, device=torch.device("cpu"))
    seeded = data.seeded(3)
    every = set(range(200))
    for labels in (Labels(3), Labels(3, fraction=0.1), Labels(3, budget=20, draw=0), Labels(3, 5, draw=1)):
        rows = seeded.rows(labels)
        trained, fit = set(rows.trained.tolist()), set(rows.fit.tolist())
        assert labels.whole is (trained == every)
        if val:
            assert rows.held is None and fit == trained
            assert seeded.val(labels) is data.splits.val
            continue
        held = set(rows.held.tolist())
        assert len(seeded.val(labels)) == len(held) and not held & fit
        # All of train has a refit; otherwise the validation labels are other ones than the drawn.
        assert fit == trained - held and rows.refit is labels.whole
        assert 15 <= len(held) <= 25  # a tenth of all, of each class
    # Draws are of all training images: none is always held out.
    drawn = [seeded.rows(Labels(3, budget=20, draw=draw)).trained for draw in range(60)]
    assert set(torch.cat(drawn).tolist()) == every


@pytest.mark.parametrize(
    "labels", [Labels(0, budget=12, draw=0), Labels(0, fraction=0.2), Labels(0, 3, draw=1)]
)
def test_no_group_is_drawn_and_also_held_out(labels):
    images, groups = torch.arange(200) % 3, np.arange(200) // 5
    splits = Splits(SimpleNamespace(groups=groups), test=SimpleNamespace(), test_name="test")
    for one in (labels, replace(labels, by_group=True), Labels(0)):
        rows = rows_of(images, one, splits)
        assert len(rows.held) and not set(groups[rows.fit]) & set(groups[rows.held])


def test_a_budget_of_all_but_one_image_of_a_class_and_of_all(config, tmp_path):
    config.evaluation_dataset = save_digits(tmp_path / "own.npz", dict(train=40, test=20))
    data = EvaluationData(config, loading={}, cache_dir=tmp_path, device=torch.device("cpu"))
    rows = data.seeded(0).rows(Labels(0, budget=39, draw=0))
    assert (len(rows.trained), len(rows.fit), len(rows.held)) == (39, 39, 1)
    assert not set(rows.held.tolist()) & set(rows.trained.tolist())
    rows = data.seeded(0).rows(Labels(0, budget=99, draw=0))
    assert len(rows.trained) == 40 and rows.refit and len(rows.fit) + len(rows.held) == 40


def test_recipes_by_name_are_literal_and_columns_of_their_own(run, config, said, monkeypatch):
    for name in ("trimix-sgd", "trimix-adam", "thesis", "own"):
        for key in ("linear", "finetune"):  # as published, but short
            length = dict(epochs=2) if RECIPES[name][key].get("solver") != "lbfgs" else {}
            length |= dict(min_steps=None) if key == "finetune" else {}
            monkeypatch.setitem(RECIPES[name], key, {**RECIPES[name][key], **length})
    names = ["own", "trimix-sgd", "trimix-adam", "thesis"]
    rows = run("knn", "linear", "semi", fractions=[0.5], recipes=names)
    assert [(row.protocol, row.recipe) for row in rows] == [("knn", "custom")] + [
        (protocol, name) for protocol in ("linear", "semi") for name in names
    ]
    linear = {row.recipe: row.settings for row in rows if row.protocol == "linear"}
    assert [linear[name]["solver"] for name in names] == ["lbfgs", "sgd", "adam", "adamw"]
    assert linear["own"]["standardize"] and not linear["trimix-sgd"]["standardize"]
    assert (linear["trimix-sgd"]["lr"], linear["thesis"]["batch_size"]) == (1e-3, 64)
    semi = {row.recipe: row.settings for row in rows if row.protocol == "semi"}
    assert [semi[name]["optimizer"] for name in names] == ["adamw", "sgd", "adam", "adam"]
    columns = [condition.words for condition in aggregate(rows)["TriMix"]]
    assert columns[1:4] == [f"linear, all labels{name}" for name in ("", ", trimix-sgd", ", trimix-adam")]
    # A config's own settings have a name of their own.
    (custom,) = run("linear")
    assert (custom.recipe, custom.settings["lr"]) == ("custom", 0.1)


def test_a_probe_that_is_not_converged_is_marked_in_log_row_and_table(run, said):
    rows = run("knn", "linear", seeds=[0, 1])
    falls = [row.settings["last_epoch_fall"] for row in rows if row.protocol == "linear"]
    assert min(falls) > 0.01
    assert sum("is not converged" in message for message in said) == 2
    for table in (results_table(rows), results_table([replace(row, last={"nmi": 1.0}) for row in rows])):
        console = Console(width=200, file=io.StringIO())
        console.print(table)
        shown = " ".join(console.file.getvalue().split())
        assert (
            f"still fell in the last epoch: linear, all labels, custom ({100 * max(falls):.1f} %)." in shown
        )
        assert "*" in shown.partition("* not converged")[0]
    converged = [replace(row, settings={**row.settings, "last_epoch_fall": 0.009}) for row in rows]
    console = Console(width=200, file=io.StringIO())
    console.print(results_table(converged))
    assert "*" not in console.file.getvalue()


def test_one_class_is_refused(run, config, tmp_path):
    config.evaluation_dataset = save_digits(tmp_path / "one.npz", dict(train=40, test=20), one_class=True)
    with pytest.raises(UserError, match=r"all 40 labelled training images are of one class \(4\)"):
        run("knn")


def test_a_grey_target_is_refused_with_the_way_out(run, config, tmp_path):
    grey = save_digits(tmp_path / "grey.npz", dict(train=40, val=20, test=20), channels=1)
    path = tmp_path / "grey.py"
    write_config(path, grey)
    with pytest.raises(UserError, match="--transfer-to grey: the images have 1 channels, .* 3 .*as_rgb=True"):
        run("transfer", transfer_to=[path])
    write_config(path, dict(grey, as_rgb=True))
    (row,) = run("transfer", transfer_to=[path])
    assert (row.protocol, row.mode, row.target) == ("transfer", "frozen", "grey")
    with pytest.raises(UserError, match="two configs called grey"):
        run("transfer", transfer_to=[path, path])


def test_a_target_of_another_size_is_said_or_refused(run, config, tmp_path, said, monkeypatch):
    write_config(tmp_path / "large.py", dict(type="Digits", image_size=12))
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module(f"{PACKAGE}.run"), "plan", lambda request: [])
        assert run("transfer", transfer_to=[tmp_path / "large.py"]) == []
    assert any(
        "large: images have (12, 12) pixels, but those of evaluation_dataset have (8, 8)" in s for s in said
    )

    def only_small(self, images):
        if images.shape[2] != 8:
            raise RuntimeError("positions of 8 × 8")
        return images.flatten(1)

    monkeypatch.setattr("ssl_ext.models.TriMix.extract_embedding", only_small)
    with pytest.raises(UserError, match=r"large: .* images of 12×12 pixels \(positions of 8 × 8\)"):
        run("transfer", transfer_to=[tmp_path / "large.py"])


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("raw", [False, True])
def test_a_malicious_checkpoint_runs_nothing(raw, config, tmp_path, monkeypatch, capsys):
    config.dump(tmp_path / "tiny.py")
    marker, evil = tmp_path / "marker", tmp_path / "evil.pth"
    if raw:
        evil.write_bytes(pickle.dumps(Touch(marker)))
    else:
        torch.save(dict(state_dict=Touch(marker)), evil)
    with pytest.raises(SystemExit) as ended:
        tool([tmp_path / "tiny.py", evil, "--device", "cpu"], monkeypatch)
    assert ended.value.code == 2
    assert "evil.pth" in capsys.readouterr().err
    assert not marker.exists()
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(protocols=["budget"], budgets=[0]), "budgets: 0"),
        (dict(protocols=["budget"], budgets=["most"]), "budgets: 'most'"),
        (dict(budgets=[100]), "--budgets is for the protocol budget"),
        (dict(protocols=["semi"], fractions=[1.5]), "fractions: 1.5"),
        (dict(protocols=["budget"], modes=["warm"]), "modes: warm unknown; allowed are frozen, unfrozen"),
        (dict(protocols=["budget"], modes=[]), "modes: give at least one"),
        (dict(seeds=[]), r"seeds=\[\]"),
        (dict(draws=1001), "draws at most 1000"),
        (dict(protocols=["transfer"]), "needs --transfer-to"),
        (dict(transfer_to=["x.py"]), "--transfer-to is for the protocol transfer"),
        (dict(protocols=["transfer"], transfer_to=["x.py"]), "'x.py' does not exist"),
        (dict(device="gpu9"), "device='gpu9' is not a torch device"),
        (dict(options={"evaluation.finetune.lr": -1}), "evaluation.finetune.lr=-1: a number above 0"),
        (dict(options={"evaluation.finetune.augment": "all"}), "evaluation.finetune.augment='all'"),
        (
            dict(options={"evaluation.linear_aug.augment": [dict(type="Shear")]}),
            "linear_aug.augment: type='Shear'",
        ),
        (dict(options={"evaluation.linear.solver": "svm"}), "evaluation.linear.solver='svm'"),
        (dict(options={"evaluation.linear.lr": 0}), "evaluation.linear.lr=0"),
        (dict(options={"evaluation.linear": dict(l2=[])}), r"evaluation.linear.l2=\[\]"),
        (
            dict(options={"evaluation.linear.solver": "lbfgs"}),
            "linear.batch_size=256: the solver lbfgs accepts only",
        ),
        (dict(recipes=["simclr"]), "recipes: simclr unknown; allowed are own, trimix-sgd"),
        (
            dict(protocols=["linear", "semi"], recipes=["own", "moco"]),
            r"--recipe moco has no recipe for semi \(evaluation.finetune\); it has recipes for linear,",
        ),
        (dict(options={"evaluation.knn.k": [5, 0]}), "evaluation.knn.k"),
        (dict(options={"evaluation.cluster.restarts": 0}), "evaluation.cluster.restarts=0"),
        (dict(options={"evaluation.quality.views": 1}), "evaluation.quality.views=1: at least 2"),
        (
            dict(options={"evaluation.quality.rows": 9}),
            "evaluation.quality.rows is unknown; allowed are images, views",
        ),
        (dict(options={"evaluation.knn": 5}), "evaluation.knn=5 must be a dict"),
    ],
)
def test_bad_settings_are_named_before_any_work(settings, words, config, tmp_path, monkeypatch):
    monkeypatch.setattr(NETWORKS, "random_network", None)
    with pytest.raises(UserError, match=words):
        evaluate(config, None, out_dir=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_the_recipes_of_the_papers(config):
    """Medical SimCLR, MoCo on ImageNet, Barlow Twins, TriMix, and this project's on few labels."""
    assert tuple(RECIPES) == NAMES
    recipes = {name: read_recipes(config, name) for name in (None, *RECIPES)}
    rate = recipes["moco"].linear_aug.recipe.rate
    assert [rate(step, 100 * 40, 40) for step in (0, 2400, 3200)] == pytest.approx([30, 3, 0.3])
    assert [recipes["amix"].linear_aug.recipe.rate(s, 100, 1) for s in (0, 30, 60)] == pytest.approx(
        [0.1, 0.01, 0.001]
    )
    assert recipes["barlow-twins"].linear_aug.recipe.rate(50, 100, 1) == pytest.approx(0.15)
    assert recipes["thesis"].finetune.augment is None
    assert recipes["moco"].finetune is None
    for optimizer in ("sgd", "adam"):
        trimix = dict(optimizer=optimizer, epochs=100, batch_size=256, lr=1e-3, weight_decay=1e-6)
        trimix |= dict(momentum=0.9) if optimizer == "sgd" else {}
        found = recipes[f"trimix-{optimizer}"].finetune.recipe.settings
        assert found == dict(**trimix, schedule="constant", milestones=[])
    assert recipes["own"].finetune.recipe.total_steps(2) == 1000
    assert recipes["own"].names == dict.fromkeys(
        ("linear", "linear_aug", "finetune", "quality"), "own"
    ) | dict.fromkeys(("knn", "cluster"), "custom")
    config.evaluation = dict(few_labels=dict(l2=[1.0]))
    assert set(read_recipes(config).names.values()) == {"own"}
