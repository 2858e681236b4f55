import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_ext.apis import evaluate, load_config
from ssl_ext.apis.evaluate.data import EvaluationData
from ssl_ext.apis.evaluate.files import read_earlier
from ssl_ext.apis.evaluate.plan import Labels
from ssl_ext.apis.evaluate.rows import ResultRows as RunRows
from ssl_ext.config.networks import random_network, without_pretrained
from ssl_ext.datasets import Digits
from ssl_ext.env import source_commit
from ssl_ext.errors import UserError
from ssl_ext.evaluation import hold_out

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    path = tmp_path / "run" / "epoch_2.pth"
    path.parent.mkdir()
    torch.save({"state_dict": random_network(tiny_config, seed=7, device=CPU).state_dict()}, path)
    return path


def pick(rows, method, protocol, labels=None):
    return [r for r in rows if (r.method, r.protocol, r.labels_per_class) == (method, protocol, labels)]


def test_every_method_and_protocol_of_one_checkpoint(tiny_config, checkpoint):
    rows = evaluate(
        tiny_config,
        checkpoint,
        labels_per_class=[3],
        draws=2,
        baselines=["pixels", "untrained", "supervised"],
        device="cpu",
        options={
            "evaluation.knn.k": [1, 5, 20],
            "evaluation.finetune": dict(steps=4, evaluations=2, batch_size=16),
        },
    )
    counts = {
        (method, protocol, labels): len(pick(rows, method, protocol, labels))
        for method in ("TriMix", "untrained", "pixels", "supervised")
        for protocol, labels in (("knn", None), ("linear", None), ("linear", 3), ("supervised", 3))
    }
    frozen = {("knn", None): 1, ("linear", None): 1, ("linear", 3): 2, ("supervised", 3): 0}
    for (method, *cell), count in counts.items():
        trained = {("supervised", 3): 2}.get(tuple(cell), 0)
        assert count == (trained if method == "supervised" else frozen[tuple(cell)])
    # kNN on raw digit pixels is known to be very accurate.
    assert pick(rows, "pixels", "knn")[0].last["acc"] > 0.97
    assert pick(rows, "pixels", "linear", 3)[0].sizes == {"train": 30, "val": 360, "test": 359}
    assert pick(rows, "TriMix", "knn")[0].last != pick(rows, "untrained", "knn")[0].last
    source = pick(rows, "TriMix", "knn")[0].source
    assert source["checkpoint"]["path"] == str(checkpoint)
    assert pick(rows, "untrained", "knn")[0].source["checkpoint"] is None
    assert source["versions"]["torch"]

    folder = checkpoint.parent / "evaluation"
    written = json.loads((folder / "results.json").read_text())
    assert [row["last"]["acc"] for row in written] == [row.last["acc"] for row in rows]
    assert len(list((folder / "features").iterdir())) == 6  # three splits for each of two networks


def test_results_repeat_and_features_are_extracted_once(tiny_config, checkpoint):
    settings = dict(labels_per_class=[2], draws=1, device="cpu")
    first = evaluate(tiny_config, checkpoint, **settings)
    again = evaluate(tiny_config, checkpoint, **settings)
    assert [row.last for row in first] == [row.last for row in again]
    assert not first[0].source["features"]["cached"]
    assert again[0].source["features"]["cached"]


@pytest.mark.parametrize(
    "labels", [Labels(0, per_class=5, draw=1), Labels(0, budget=40, draw=0), Labels(0, fraction=0.1)]
)
def test_drawn_labels_are_never_held_out_ones(labels, tiny_config, tmp_path):
    digits = {split: Digits(split, image_size=8) for split in ("train", "test")}
    arrays = {f"x_{split}": data.images.numpy() for split, data in digits.items()}
    arrays |= {f"y_{split}": data.labels.numpy() for split, data in digits.items()}
    np.savez(tmp_path / "digits.npz", **arrays)
    tiny_config.evaluation_dataset = dict(
        type="NPZDataset", data_root=str(tmp_path / "digits.npz"), layout="NCHW"
    )
    loading = dict(batch_size=512, num_workers=0)
    data = EvaluationData(load_config(tiny_config), loading=loading, cache_dir=tmp_path, device=CPU)
    seeded = data.seeded(0)
    fit, held = hold_out(digits["train"].labels, seed=0)
    assert torch.equal(seeded.rows(Labels(0)).held, held) and torch.equal(seeded.rows(Labels(0)).fit, fit)
    rows, own = seeded.rows(labels).trained, seeded.rows(labels).held
    assert torch.equal(seeded.rows(labels).fit, rows) and not set(rows.tolist()) & set(own.tolist())
    counts = digits["train"].labels[rows].bincount(minlength=10)
    if labels.per_class:
        assert counts.tolist() == [5] * 10
    else:
        assert len(rows) == (labels.budget or pytest.approx(0.1 * len(digits["train"]), abs=5))
    pixels = data.features(None)
    few, whole = (seeded.banks(pixels, which) for which in (labels, Labels(0)))
    assert few.final is None and len(whole.final) == len(digits["train"])
    assert torch.equal(few.fit.features, pixels.train.features[rows])
    assert torch.equal(few.val.features, pixels.train.features[own])
    assert torch.equal(whole.val.features, pixels.train.features[held])
    assert len(own) == pytest.approx(len(held), abs=10)


@pytest.mark.parametrize("present", ["test", "val"])
def test_without_three_splits_rows_of_train_are_held_out(present, tiny_config, checkpoint, tmp_path):
    arrays = {}
    for split, name in (("train", "train"), ("test", present)):
        digits = Digits(split, image_size=8)
        labels = digits.labels.numpy() if present == "test" else 10 * digits.labels.numpy() + 10
        arrays[f"x_{name}"], arrays[f"y_{name}"] = digits.images.numpy(), labels
    np.savez(tmp_path / "digits.npz", **arrays)
    tiny_config.evaluation_dataset = dict(
        type="NPZDataset", data_root=str(tmp_path / "digits.npz"), layout="NCHW"
    )
    knn, linear = evaluate(tiny_config, checkpoint, device="cpu")
    assert knn.settings["val_split"] == "held out of train"
    assert ("no test split" in knn.settings["test_split"]) == (present == "val")
    assert knn.settings["bank_includes_validation"]
    assert linear.settings["fit_includes_validation"]
    assert knn.sizes["train"] == 1078
    assert 95 <= knn.sizes["val"] <= 108
    assert knn.sizes["test"] == 359
    assert len(knn.last["confusion"]) == 10 and 0.5 < knn.last["auc"] <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(protocols=["svm"]), "svm unknown; allowed are knn, linear"),
        (dict(baselines=["oracle"]), "oracle unknown"),
        (dict(baselines=["supervised"]), "labels-per-class"),
        (dict(labels_per_class=[0]), "at least 1"),
        (dict(protocols=[]), "Nothing to evaluate"),
        (dict(options={"evaluation.knn.metric": "l1"}), "evaluation.knn.metric is unknown"),
        (dict(options={"evaluation.linear.steps": 3}), "evaluation.linear.steps is unknown"),
        (dict(options={"evaluation.precision": "half"}), "evaluation.precision='half': allowed are float32"),
        (dict(options={"evaluation.probe": dict()}), "evaluation.probe is unknown"),
        (dict(options={"evaluation_dataset.type": "Nothing"}), "evaluation_dataset"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(settings, words, tiny_config, tmp_path):
    with pytest.raises(UserError, match=words):
        evaluate(tiny_config, None, out_dir=tmp_path / "out", device="cpu", **settings)
    assert not Path(tmp_path / "out").exists()


def test_a_checkpoint_of_another_network_is_refused(tiny_config, tmp_path):
    torch.save({"backbone.other": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="0.0%"):
        evaluate(tiny_config, tmp_path / "other.pth", device="cpu")


def test_a_random_start_is_seeded_and_never_loads_weights(tiny_config):
    state = torch.get_rng_state()
    one, same, other = (random_network(tiny_config, seed=s, device=CPU) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    first = [model.backbone.layer1[0].conv1.weight for model in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    loading = dict(type="Pretrained", checkpoint="weights.pth")
    model = dict(
        pretrained="a.pth", backbone=dict(depth=18, init_cfg=loading), heads=[dict(init_cfg=loading)]
    )
    assert without_pretrained(model) == dict(backbone=dict(depth=18), heads=[{}])


def kept(checkpoint):
    return json.loads((checkpoint.parent / "evaluation" / "results.json").read_text())


def write_run(config, path, **changes):
    """A checkpoint as a run writes it, with its config."""
    trained = config.copy()
    trained.merge_from_dict(changes)
    state = random_network(trained, seed=7, device=CPU).state_dict()
    torch.save({"meta": {"cfg": trained.pretty_text, "iter": 4, "epoch": 2}, "state_dict": state}, path)
    return path


def test_two_evaluations_at_once_keep_the_rows_of_both(tiny_config, checkpoint, monkeypatch):
    """The second runs between the first two rows of the first; the file is read again only then."""
    draws = dict(labels_per_class=[2], draws=2, device="cpu")
    real, read, reads = RunRows.add, read_earlier, []

    def add(rows, *args):
        if rows.rows:
            monkeypatch.setattr(RunRows, "add", real)
            evaluate(tiny_config, checkpoint, protocols=["linear"], **{**draws, "labels_per_class": [3]})
        real(rows, *args)

    monkeypatch.setattr(RunRows, "add", add)
    module = sys.modules[RunRows.__module__]
    monkeypatch.setattr(module, "read_earlier", lambda folder: reads.append(folder) or read(folder))
    evaluate(tiny_config, checkpoint, protocols=["knn"], **draws)
    found = [(row["protocol"], row["labels_per_class"]) for row in kept(checkpoint)]
    assert found == [("knn", None), *[("linear", 2)] * 2, ("linear", None), *[("linear", 3)] * 2]
    with np.load(checkpoint.parent / "evaluation" / "subsets.npz") as subsets:
        assert len(subsets.files) == 4
    assert len(reads) == 3


def test_results_of_other_measurements_stay_in_the_file(tiny_config, checkpoint, monkeypatch):
    few = dict(protocols=[], labels_per_class=[2], device="cpu")
    first = evaluate(tiny_config, checkpoint, draws=3, **few)
    evaluate(tiny_config, checkpoint, protocols=["knn"], device="cpu")
    assert [row["protocol"] for row in kept(checkpoint)] == ["knn", *["linear"] * 3]
    # Another recipe is another measurement; the same one replaces its row.
    evaluate(tiny_config, checkpoint, protocols=["knn"], device="cpu", options={"evaluation.knn.k": [3]})
    evaluate(tiny_config, checkpoint, protocols=["knn"], device="cpu")
    assert len(kept(checkpoint)) == 5

    def stop(*args):
        raise KeyboardInterrupt

    real = RunRows.add
    monkeypatch.setattr(RunRows, "add", lambda *args: stop() if args[1].labels.draw == 1 else real(*args))
    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny_config, checkpoint, draws=3, **few)
    draws = [row for row in kept(checkpoint) if row["protocol"] == "linear"]
    assert sorted(row["draw"] for row in draws) == [0, 1, 2]
    assert {row["draw"]: row["last"]["acc"] for row in draws} == {r.draw: r.last["acc"] for r in first}
    subsets = np.load(checkpoint.parent / "evaluation" / "subsets.npz")
    assert [len(subsets[row["settings"]["labels"]["rows"]]) for row in draws] == [20] * 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", b"[{"),
        ("results.json", b""),
        ("results.json", b"{}"),
        ("results.json", b'[{"method": "TriMix"}]'),
        ("results.json", b'[{"method": 1, "protocol": 2, "last": {}, "best": {}, "settings": {}, "sizes": {},'
                         b' "seed": 0, "source": {"checkpoint": "a.pth"}}]'),
        ("results.json", b"\xff\xfe"),
        ("subsets.npz", b"PK"),
        ("subsets.npz", b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_damaged_file_of_earlier_results_is_found_first(tiny_config, tmp_path, name, content, dry_run):
    (tmp_path / name).write_bytes(content)
    way_on = f"{name}'.*[.] Rename or delete {name}, or give another folder \\(--out\\)"
    with pytest.raises(UserError, match=way_on):
        # The checkpoint does not exist: nothing else has been read yet.
        evaluate(tiny_config, tmp_path / "none.pth", out_dir=tmp_path, dry_run=dry_run)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_that_cannot_be_written_is_found_first(tiny_config, checkpoint):
    with pytest.raises(UserError, match="cannot be written to '/sys/none'"):
        evaluate(tiny_config, checkpoint, out_dir="/sys/none", device="cpu")


def test_a_row_states_network_pretraining_data_commit_and_command(tiny_config, tmp_path):
    path = write_run(tiny_config, tmp_path / "a.pth", **{"randomness.seed": 3})
    images, labels = np.zeros((40, 8, 8, 3), np.uint8), np.arange(40) % 2
    images[labels == 1] = 9
    data = tmp_path / "own.npz"
    np.savez(data, **{f"{k}_{s}": v for s in ("train", "test") for k, v in (("x", images), ("y", labels))})
    tiny_config.evaluation_dataset = dict(type="NPZDataset", data_root=str(data))
    row, pixels = evaluate(tiny_config, path, protocols=["knn"], baselines=["pixels"], device="cpu")
    assert row.source["network"]["backbone"] == tiny_config.model.backbone.to_dict()
    assert row.source["network"]["neck"]["hid_channels"] == tiny_config.model.neck.hid_channels
    pretraining = row.source["pretraining"]
    assert pretraining["datasets"] == [tiny_config.train_dataloader.dataset.to_dict()]
    assert (pretraining["seed"], pretraining["iter"]) == (3, 4)
    md5 = hashlib.md5(data.read_bytes()).hexdigest()
    for split in ("train", "test"):
        assert row.source["data"][split]["files"] == [dict(path=str(data), md5=md5, official=None)]
    assert row.source["data"]["train"]["fingerprint"] != row.source["data"]["test"]["fingerprint"]
    assert row.source["command"] and "partial" not in row.source["checkpoint"]
    assert (pixels.source["network"], pixels.source["pretraining"]) == (None, None)
    git = Path(__file__).parents[2] / ".git"
    assert bool(source_commit()) is git.exists() and row.source["commit"] == source_commit()


def spoiled(state, name, value):
    state[name].view(-1)[0] = value
    return state


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda state: dict(state_dict=spoiled(state, "backbone.conv1.weight", float("nan"))),
            "has NaN or inf",
        ),
        (
            lambda state: dict(state_dict=spoiled(state, "backbone.bn1.weight", float("inf"))),
            "has NaN or inf",
        ),
        (lambda state: dict(state_dict={}, run=Path), "pth'"),
        (lambda state: [1, 2], "not a state dict"),
    ],
)
def test_a_bad_file_in_a_work_dir_is_not_blamed_on_the_config(tiny_config, tmp_path, content, message):
    state = random_network(tiny_config, seed=0, device=CPU).state_dict()
    torch.save(content(state), tmp_path / "epoch_1.pth")
    for name in ("run.py", "run.json"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=message) as caught:
        evaluate(tiny_config, tmp_path / "epoch_1.pth", device="cpu", out_dir=tmp_path / "out")
    assert "run.py" not in str(caught.value)


def test_another_method_or_network_than_the_checkpoints_is_refused(tiny_config, tmp_path):
    path = write_run(tiny_config, tmp_path / "other.pth")
    content = torch.load(path)
    content["meta"]["cfg"] = content["meta"]["cfg"].replace("'TriMix'", "'SimCLR'")
    torch.save(content, path)
    settings = dict(protocols=["knn"], device="cpu", out_dir=tmp_path / "out")
    with pytest.raises(UserError, match=r"trained with SimCLR.*method is TriMix.*--as SimCLR"):
        evaluate(tiny_config, path, **settings)
    (row,) = evaluate(tiny_config, path, method="SimCLR", **settings)
    assert row.method == "SimCLR"
    for name in ("run.py", "run.json"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=r"The run's config with all overrides is '.*run\.py'"):
        evaluate(tiny_config, path, **settings)
    other = write_run(tiny_config, tmp_path / "stem.pth")
    state = torch.load(other)
    state["state_dict"].pop("backbone.conv1.weight")
    torch.save(state, other)
    with pytest.raises(UserError, match=r"Only \d+ of the .*run\.py"):
        evaluate(tiny_config, other, **settings)
    (row,) = evaluate(tiny_config, other, allow_partial=True, **settings)
    assert row.source["checkpoint"]["partial"].endswith("% of the backbone")
