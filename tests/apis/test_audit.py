"""Planted faults are found, each by a sentence; the numbers equal plain loops."""

import io
import json
import re
import shutil
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from rich.console import Console

from ssl_ext.apis import audit
from ssl_ext.cli import audit as command
from ssl_ext.errors import UserError
from ssl_ext.evaluation import random_subset

RNG = np.random.default_rng(0)
COUNTS = dict(train=20, val=8, test=9)


def arrays():
    """Three classes in all splits, two images of every patient, no image twice."""
    found = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        found[f"{split}_images"] = RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
        found[f"{split}_labels"] = np.arange(count) % 3
        found[f"{split}_groups"] = np.array([f"{number}-{row // 2}" for row in range(count)])
    return found


def config(folder, content, **pretraining):
    np.savez(folder / "data.npz", **content)
    path = str(folder / "data.npz")
    config = dict(evaluation_dataset=dict(type="NPZDataset", data_root=path))
    if pretraining:
        config["train_dataloader"] = dict(dataset=dict(type="NPZDataset", data_root=path, **pretraining))
    return Config(config)


def same_images(content):
    """All pairs of equal images by comparing each with each."""
    images = [(split, row) for split, count in COUNTS.items() for row in range(count)]
    return [
        (a, b)
        for i, a in enumerate(images)
        for b in images[i + 1 :]
        if np.array_equal(content[f"{a[0]}_images"][a[1]], content[f"{b[0]}_images"][b[1]])
    ]


def test_clean_data_has_no_problem_and_the_numbers_equal_numpy(tmp_path):
    content = arrays()
    found = audit(config(tmp_path, content, split="train"))
    assert found.problems == found.notes == found.duplicates == [] and found.shared_groups == {}
    assert list(found.splits) == list(COUNTS)
    for name, part in found.splits.items():
        pixels = content[f"{name}_images"] / 255
        assert (part.images, part.labelled, part.groups) == (
            COUNTS[name],
            COUNTS[name],
            -(-COUNTS[name] // 2),
        )
        assert list(part.classes.values()) == np.bincount(content[f"{name}_labels"]).tolist()
        assert part.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())
        assert part.std == pytest.approx(pixels.std((0, 1, 2)).tolist())
        assert part.sizes == dict(smallest=[6, 5], largest=[6, 5], different=1)


def test_classes_of_drawn_labels_are_those_of_an_evaluation(tmp_path):
    content = arrays()
    settings = config(tmp_path, content)
    found = audit(settings, budgets=[4, 9], labels_per_class=[2], seed=3)
    labels = torch.from_numpy(content["train_labels"])
    for budget in (4, 9):
        rows = random_subset(labels, budget, seed=3000)
        assert found.drawn[f"{budget} labels"] == Counter(map(str, labels[rows].tolist()))
    assert found.drawn["2 labels/class"] == {"0": 2, "1": 2, "2": 2}
    console = Console(file=io.StringIO(), width=200)
    console.print(found.rich())
    assert re.search(r"all +.* 20 .* 8 .* 9 .* 4 .* 9 .* 6 ", console.file.getvalue())
    with pytest.raises(UserError, match="0 labels"):
        audit(settings, budgets=[0])


def test_planted_faults_are_found(tmp_path):
    content = arrays()
    images, labels = (
        {split: content[f"{split}_{kind}"] for split in COUNTS} for kind in ("images", "labels")
    )
    images["test"][4] = images["train"][1]
    images["test"][5] = images["train"][6]  # 2 and 0
    images["val"][0] = images["train"][1]  # 0 and 1
    images["train"][9] = images["train"][3]
    images["val"][7] = 77
    labels["test"][labels["test"] == 1] = 2
    content["val_groups"][2] = content["train_groups"][0]
    content["test_groups"][:2] = "0-1", "1-3"
    found = audit(config(tmp_path, content, split="train"))
    assert found.problems == [
        "1 group (0-0) in both train and val.",
        "1 group (0-1) in both train and test.",
        "1 group (1-3) in both val and test.",
        "1 image (0) of val also in train.",
        "2 images (4, 5) of test also in train.",
        "1 image (4) of test also in val.",
        "Duplicate images with different labels: train 1 = val 0 = test 4, train 6 = test 5.",
        "1 class (1) without images in test.",
    ]
    assert found.notes == [
        "1 image (9) of train duplicated within train.",
        "1 image (7) of val with a single colour.",
    ]
    pairs = same_images(content)
    listed = [[(split, row) for split, rows in copies.items() for row in rows] for copies in found.duplicates]
    assert sorted(pairs) == sorted(
        (a, b) for rows in listed for i, a in enumerate(rows) for b in rows[i + 1 :]
    )
    found.write(tmp_path / "audit.json")
    assert json.loads((tmp_path / "audit.json").read_text()) == json.loads(json.dumps(asdict(found)))


def test_unlabelled_images_have_no_conflict_and_pretraining_on_test_images_is_a_note(tmp_path):
    content = arrays()
    content["train_labels"][:4] = -1
    content["test_images"][2] = content["train_images"][3]
    found = audit(config(tmp_path, content, split="test"))
    assert found.problems == ["1 image (2) of test also in train."]
    assert found.notes == ["Pretraining uses 9 images of test, without their labels."]
    assert list(found.splits) == [*COUNTS, "pretraining"] and found.splits["train"].labelled == 16
    grey = {name: array[..., 0] if "images" in name else array for name, array in arrays().items()}
    del grey["train_groups"], grey["val_groups"], grey["test_groups"]
    assert audit(config(tmp_path, grey, split="train")).notes == [
        "No groups: the patient, lesion or slide of the images is not recorded."
    ]


def test_files_are_compared_before_they_are_resized(tmp_path):
    pixels = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for split, label in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        folder = tmp_path / "data" / split / label
        folder.mkdir(parents=True)
        grey = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(grey).save(folder / "own.png")
    Image.fromarray(pixels).save(tmp_path / "data" / "train" / "a" / "one.png")
    Image.fromarray(pixels).save(tmp_path / "data" / "test" / "a" / "again.bmp")
    pixels[0, 0, 0] ^= 1  # too little for a pixel of the resized image
    Image.fromarray(pixels).save(tmp_path / "data" / "test" / "b" / "other.png")
    # The same bytes in another shape.
    Image.new("RGB", (12, 16)).save(tmp_path / "data" / "train" / "b" / "high.png")
    Image.new("RGB", (16, 12)).save(tmp_path / "data" / "test" / "b" / "wide.png")
    (tmp_path / "data" / "test" / "b" / "broken.png").write_bytes(b"no image")
    settings = dict(type="FolderDataset", data_root=str(tmp_path / "data"), image_size=4)
    found = audit(Config(dict(evaluation_dataset=settings, evaluation=dict(num_workers=1))))
    overlap, broken = found.problems
    file = tmp_path / "data" / "test" / "a" / "again.bmp"
    assert overlap == f"1 image ({file}) of test also in train."
    assert broken.startswith("test: ") and "broken.png: cannot be decoded" in broken
    assert found.splits["test"].sizes == dict(smallest=[8, 8], largest=[12, 16], different=2)
    assert found.splits["test"].images == 6 and np.isfinite(found.splits["test"].mean).all()


def test_a_data_set_without_a_readable_image_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "broken.png").write_bytes(b"no image")
    settings = dict(type="FolderDataset", data_root=str(tmp_path), image_size=4)
    with pytest.raises(UserError, match="No image of train can be read: .*broken.png"):
        audit(Config(dict(evaluation_dataset=settings)))


def test_the_command_says_by_its_status_whether_there_are_problems(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    content = arrays()
    config(tmp_path, content).dump(tmp_path / "data.py")
    command.main([str(tmp_path / "data.py")])
    assert "no problem" in capsys.readouterr().out
    content["test_images"][0] = content["train_images"][0]
    config(tmp_path, content)
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path / "data.py"), "--out", str(tmp_path / "out" / "audit.json")])
    printed = capsys.readouterr().out
    assert ended.value.code == 1 and "problem: 1 image (0) of test also in train." in printed
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["splits"]["val"]["images"] == 8
    shutil.rmtree(tmp_path / "out")
