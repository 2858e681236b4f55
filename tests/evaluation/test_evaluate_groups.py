"""Evaluation of data sets whose images belong to patients."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_ext.apis import evaluate
from ssl_ext.config.networks import random_network
from ssl_ext.datasets import Digits
from ssl_ext.errors import UserError

SIZES = dict(train=60, test=30)
IMAGES_EACH = 3


def arrays(**sizes):
    """Digits with three images of every patient, by split."""
    found, start = {}, 0
    for split, count in sizes.items():
        digits = Digits(split, image_size=8)
        found[f"{split}_images"] = digits.images[:count].numpy()
        # Every patient has one class, five classes in all.
        found[f"{split}_labels"] = np.arange(count) // IMAGES_EACH % 5
        found[f"{split}_groups"] = start + np.arange(count) // IMAGES_EACH
        start += count
    return found


def save_npz(folder, content):
    np.savez(folder / "patients.npz", **content)
    return dict(type="NPZDataset", data_root=str(folder / "patients.npz"), layout="NCHW")


def save_csv(folder, content, *, splits=True, column="group"):
    lines = [f"file,label,{column}" + ",split" * splits]
    (folder / "images").mkdir()
    for split in ("train", "test"):
        rows = zip(*(content[f"{split}_{name}"] for name in ("images", "labels", "groups")), strict=True)
        for number, (image, label, group) in enumerate(rows):
            name = f"{split}{number}.png"
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / "images" / name)
            lines.append(f"{name},{label},patient {group}" + f",{split}" * splits)
    (folder / "labels.csv").write_text("\n".join(lines))
    paths = dict(data_root=str(folder / "images"), labels_file=str(folder / "labels.csv"))
    return dict(type="ImageFiles", image_size=8, **paths)


@pytest.fixture
def run(tiny_config, tmp_path):
    network = random_network(tiny_config, seed=7, device=torch.device("cpu"))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pth")

    def evaluate_here(dataset, **settings):
        tiny_config.evaluation_dataset = dataset
        options = {"evaluation.linear.epochs": 2}
        return evaluate(
            tiny_config, tmp_path / "weights.pth", out_dir=tmp_path / "out", device="cpu", options=options,
            **settings,
        )  # fmt: skip

    return evaluate_here


@pytest.mark.parametrize("save", [save_npz, save_csv])
def test_patients_stay_together_from_the_file_to_the_rows(save, run, tmp_path):
    content = arrays(**SIZES)
    rows = run(
        save(tmp_path, content), protocols=["knn", "linear", "budget"], budgets=[4], labels_per_class=[1],
        draws=2, by="group",
    )  # fmt: skip
    assert all(row.settings["val_split"] == "held out of train by group" for row in rows)
    knn, *_ = rows
    # A tenth of four patients of each of five classes is one patient of three images.
    assert knn.sizes == {"train": 60, "val": 15, "test": 30}
    assert (knn.intervals["over"], knn.intervals["units"]) == ("groups", 10)
    with np.load(tmp_path / "out" / knn.predictions) as stored:
        groups = [name.removeprefix("patient ") for name in stored["groups"]]
        assert stored["val_groups"] == 5
    assert groups == [str(group) for group in content["test_groups"]]
    subsets = np.load(tmp_path / "out" / "subsets.npz")
    drawn = [row for row in rows if row.settings["labels"]["drawn"]]
    assert len(drawn) == 4 and knn.by is None
    for row in drawn:
        count = 4 if row.budget else 5
        groups = content["train_groups"][subsets[row.settings["labels"]["rows"]]]
        assert row.by == "group" and row.settings["labels"]["groups"] == len(set(groups)) == count
        assert row.sizes["train"] == len(groups) == IMAGES_EACH * count
    assert drawn[-1].settings["labels"]["rows"] == "groups-random-4_seed-0_draw-1"


def test_unrelated_labels_score_at_chance_by_group_and_well_above_it_without(run, tiny_config, tmp_path):
    """The images of a patient are crops of four coloured squares; its label is drawn at random."""
    tiny_config.evaluation.knn.k = 5
    generator = np.random.default_rng(0)
    squares = generator.integers(0, 256, (60, 3, 2, 2), dtype=np.uint8)
    sources = squares.repeat(8, axis=2).repeat(8, axis=3)
    labels = generator.permutation(np.arange(60) % 2)
    patients = np.repeat(np.arange(60), 8)
    images = [
        sources[patient, :, y : y + 8, x : x + 8]
        for patient in range(60)
        for y, x in generator.integers(3, 6, (8, 2))
    ]

    def accuracy(test, **groups):
        content = {}
        for split, rows in dict(train=~test, test=test).items():
            content |= {f"{split}_images": np.stack(images)[rows], f"{split}_labels": labels[patients][rows]}
            content |= {f"{split}_{name}": values[rows] for name, values in groups.items()}
        _, knn = run(save_npz(tmp_path, content), protocols=["knn"], baselines=["pixels"])
        assert knn.intervals["over"] == ("groups" if groups else "images")
        return knn.last["acc"], knn.intervals["last"]["acc"]

    _, (low, high) = accuracy(patients % 3 == 0, groups=patients)
    assert low < 0.5 < high
    leaked, (low, high) = accuracy(np.arange(480) % 3 == 0)
    assert leaked > 0.8 and low > 0.7


@pytest.mark.parametrize("save", [save_npz, save_csv])
def test_a_patient_in_two_splits_is_named(save, run, tmp_path):
    content = arrays(**SIZES)
    content["test_groups"][5] = content["train_groups"][11]
    patient = content["train_groups"][11]
    with pytest.raises(
        UserError, match=rf"evaluation_dataset.*'(patient )?{patient}' has images both in train and in"
    ):
        run(save(tmp_path, content))
    content["test_groups"][:3] = 0
    (tmp_path / "more").mkdir()
    with pytest.raises(UserError, match=r"'(patient )?0' \(the first of 2\) has images both in train"):
        run(save(tmp_path / "more", content))


def test_by_group_needs_groups_and_a_number_of_labels(run, tmp_path):
    content = {name: array for name, array in arrays(**SIZES).items() if "groups" not in name}
    with pytest.raises(UserError, match="--by group: evaluation_dataset has no groups"):
        run(save_npz(tmp_path, content), labels_per_class=[1], by="group")
    with pytest.raises(UserError, match="--by group is for numbers of labels"):
        run(save_npz(tmp_path, content), by="group")
    with pytest.raises(UserError, match="by: 'patient' unknown; allowed are image, group"):
        run(save_npz(tmp_path, content), labels_per_class=[1], by="patient")
