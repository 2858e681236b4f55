import os

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_ext.apis import pack
from ssl_ext.datasets import FolderDataset, ImageFiles, image_files
from ssl_ext.datasets.test_share import drawn_for_test


@pytest.fixture
def folder(tmp_path):
    """Six images of several kinds, one of 16-bit grey and one broken."""
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.jpg", "deep/c.png")):
        Image.new("RGB", (20 + index, 30), (60 * index, 100, 200)).save(tmp_path / "images" / name)
    grey = np.full((40, 28), 257 * 90, np.uint16)
    Image.fromarray(grey).save(tmp_path / "images" / "grey16.png")
    whole = (tmp_path / "images" / "a.png").read_bytes()
    (tmp_path / "images" / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path


def table(folder, *lines):
    path = folder / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return dict(data_root=folder / "images", image_size=8, labels_file=path)


def test_a_folder_is_read_without_its_broken_file(folder, monkeypatch):
    lines = []
    monkeypatch.setattr(image_files, "print_log", lambda line, **kwargs: lines.append(line))
    data = ImageFiles(data_root=folder / "images", image_size=8)
    assert data.files == ["a.png", "b.jpg", "deep/c.png", "grey16.png"]
    assert data.images.shape == (4, 3, 8, 8) and data.labels.tolist() == [-1] * 4
    assert data.images[2].unique(dim=1).flatten().tolist()[:1] == [120]
    assert data.images[3].unique().tolist() == [90]
    (told,) = lines
    assert told.startswith("1 of 5 files are skipped") and "broken.png" in told


def test_the_centre_of_the_shorter_side(tmp_path):
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 200
    Image.fromarray(picture).save(tmp_path / "wide.png")
    data = ImageFiles(data_root=tmp_path, image_size=8, channels=1)
    assert data.images.shape == (1, 1, 8, 8) and data.images.unique().tolist() == [200]


def test_labels_and_splits_of_a_table(folder):
    options = table(
        folder, "label, file, split", "10, a.png, train", "9, b.jpg, test", ",deep/c.png,train",
        "9,grey16.png,train",
    )  # fmt: skip
    train, test = ImageFiles("train", **options), ImageFiles("test", **options)
    assert train.classes == test.classes == ("9", "10") and test.num_classes == 2
    assert (train.files, train.labels.tolist()) == (["a.png", "deep/c.png", "grey16.png"], [1, -1, 0])
    assert (test.files, test.labels.tolist()) == (["b.jpg"], [0])
    assert train.available_splits == ("train", "test")
    with pytest.raises(ValueError, match="no split 'val'"):
        ImageFiles("val", **options)


@pytest.mark.parametrize("labels", [("1", "2", "3"), ("10", "20", "100"), ("0.5", "2", "mild")])
def test_numbers_that_occur_are_the_classes_by_value(folder, labels):
    names = ("b.jpg", "deep/c.png", "a.png")
    lines = [f"{name},{label},train" for name, label in zip(names, labels, strict=True)]
    data = ImageFiles("train", **table(folder, "file,label,split", *reversed(lines)))
    assert (data.classes, data.labels.tolist()) == (labels, [2, 1, 0])


def test_a_drawn_test_split_has_its_share_of_every_class_and_stays(tmp_path):
    (tmp_path / "images").mkdir()
    names = [f"{index}.png" for index in range(40)]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / "images" / name)
    lines = [f"{name},{'ill' if index < 10 else 'well'}" for index, name in enumerate(names)]
    options = table(tmp_path, "file,label", *lines)
    test = ImageFiles("test", **options, test_share=0.3)
    assert test.labels.bincount().tolist() == [3, 9]
    train = ImageFiles("train", **options, test_share=0.3)
    assert sorted(train.files + test.files) == sorted(names)
    turned = ImageFiles("test", **table(tmp_path, "file,label", *reversed(lines)), test_share=0.3)
    assert sorted(turned.files) == sorted(test.files)


def test_a_class_of_one_unit_and_names_of_other_bytes():
    names = [os.fsdecode(b"caf\xe9%d" % index) for index in range(3)]
    assert drawn_for_test(["one", "one"], [("ill",), ("ill",)], 0.5) == set()
    assert len(drawn_for_test(["one", *names], [("ill",), *[("well",)] * 3], 0.95) & {*names}) == 2


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["name,label", "a.png,1"], "no column 'file' in its first line, only name, label"),
        (["file,label"], "lists no files"),
        (["file,label", "a.png,1", "a.png,2"], "line 3: file 'a.png' is empty or listed twice"),
        (["file,label", "a.png,1", "deep/.././a.png,2"], "line 3: .* is empty or listed twice"),
        (["file,label,split", "a.png,1,training"], "line 2: split 'training' is none of train, val, test"),
        (["file,label,split", "a.png,1,test", "b.jpg,1,"], "a split for some files only"),
        (["file,label,split", "broken.png,1,train"], "holds no readable image"),
        (["file,label", "a.png,1", "b.jpg,NA"], "label 'NA' marks a missing value: leave the field empty"),
        (["file,label", "a.png,nan", "b.jpg,2"], "label 'nan' marks a missing value"),
        (["file,label", "a.png,1", "b.jpg,01"], "labels '01' and '1' are the same number"),
        (["file,label,split", "a.png,1,train", "b.jpg,1"], "line 3 has 2 fields, but its first line 3"),
        (["file,label", "a.png,1", "b.jpg,1,5"], "line 3 has 3 fields, but its first line 2"),
        (["file,label,label", "a.png,1,2"], "names the column 'label' twice in its first line"),
        (["file,label", "a.png,2.0", "b.jpg,2"], "labels '2' and '2.0' are the same number"),
    ],
)
def test_a_bad_table_is_one_sentence(lines, words, folder):
    with pytest.raises(ValueError, match=words):
        ImageFiles("train", **table(folder, *lines))


def test_absolute_paths_below_the_folder_are_those_relative_to_it(folder):
    root = folder / "images"
    (root / "linked").symlink_to(root / "deep")
    (folder / "other").symlink_to(root)
    paths = [root / "a.png", folder / "other/b.jpg", root / "linked/c.png", root / "deep/../grey16.png"]
    lines = [f"{path},x,{split}" for path, split in zip(paths, ["train", *["test"] * 3], strict=True)]
    options = table(folder, "file,label,split", *lines)
    # Listed test images are not among the unlisted ones, also by another path.
    assert ImageFiles("train", **options, unlisted=True).files == ["a.png"]
    assert ImageFiles("test", **options).files == ["b.jpg", "linked/c.png", "grey16.png"]
    options = table(folder, "file,label", "a.png,x", f"{root}/a.png,y")
    with pytest.raises(ValueError, match="line 3: file 'a.png' is empty or listed twice"):
        ImageFiles("train", **options)


@pytest.mark.parametrize(
    "name", ["../secret.png", "{0}/secret.png", "{0}/images/../secret.png", "up/../secret.png"]
)
def test_files_outside_the_folder_are_not_read(name, folder):
    Image.new("RGB", (8, 8)).save(folder / "secret.png")
    (folder / "beside").mkdir()
    (folder / "images/up").symlink_to(folder / "beside")
    name = name.format(folder)
    options = table(folder, "file,label", "a.png,x", f"{name},y")
    words = (
        rf"labels.csv: line 3: file '{name}' is outside the folder of the images, '.*images': give the folder"
    )
    for read in (
        lambda: ImageFiles("train", **options),
        lambda: pack(folder / "images", folder / "out", labels_file=options["labels_file"]),
    ):
        with pytest.raises(ValueError, match=words):
            read()
    options = table(folder, "file,label", f"{folder}/secret.png,x", f"{folder}/images/a.png,y")
    with pytest.raises(
        ValueError, match=rf"holds all files, here '{folder}' \(config key: dataset.data_root\)"
    ):
        ImageFiles("train", **options)
    options["data_root"] = folder
    assert len(ImageFiles("train", **options, test_share=0.5)) == 2


def test_a_file_that_is_not_there_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        ImageFiles("train", **table(folder, "file,label,split", "none.png,1,train"))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        ImageFiles(data_root=folder / "images", image_size=8, labels_file=folder / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageFiles(data_root=folder / "nowhere", image_size=8)


@pytest.mark.parametrize("options", [dict(channels=2), dict(image_size=0), dict(test_share=1.0)])
def test_options_out_of_range(options, folder):
    with pytest.raises(ValueError, match=f"dataset.{next(iter(options))} must"):
        ImageFiles(data_root=folder / "images", **{"image_size": 8, **options})


@pytest.fixture
def classes(tmp_path):
    """Twelve images in two class folders, and one in a folder of each split."""
    for number in range(12):
        for place in (
            f"whole/{'ab'[number % 2]}/{number}.png",
            f"{('train', 'val')[number % 2]}/b/{number}.png",
        ):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / place)
    return tmp_path


def test_a_test_split_of_class_folders(classes):
    options = dict(data_root=classes / "whole", image_size=8, test_share=0.3)
    parts = {}
    for split in ("train", "test"):
        stored = ImageFiles(split, class_folders=True, **options)
        read = FolderDataset(split, **options)
        assert [f"{classes}/whole/{name}" for name in stored.files] == read.files
        assert stored.classes == read.classes == ("a", "b") and stored.available_splits == ("train", "test")
        assert stored.labels.tolist() == read.labels.tolist()
        assert np.bincount(stored.labels).tolist() == dict(train=[4, 4], test=[2, 2])[split]
        assert torch.equal(stored.images[0], read[0]["inputs"])
        parts[split] = set(read.files)
    assert not parts["train"] & parts["test"] and len(parts["train"] | parts["test"]) == 12
    # The draw is a function of the names: more images move none to another split.
    Image.new("RGB", (9, 9)).save(classes / "whole/a/more.png")
    assert parts["test"] <= set(FolderDataset("test", **options).files)


def test_folders_of_splits_are_not_drawn_from(classes):
    for name in ("train", "val"):
        for data in (
            ImageFiles(name, data_root=classes, image_size=8, class_folders=True, test_share=0.5),
            FolderDataset(name, data_root=classes, image_size=8, test_share=0.5),
        ):
            assert (len(data), data.labels.tolist()) == (6, [0] * 6) and "test" not in data.available_splits


def test_class_folders_that_are_not_there(classes):
    plain = classes / "whole/a"
    with pytest.raises(ValueError, match="no class folders with images .*dataset.class_folders"):
        ImageFiles(data_root=plain, image_size=8, class_folders=True)
    with pytest.raises(ValueError, match=r"dataset\.test_share needs class folders"):
        FolderDataset("test", data_root=plain, image_size=8, test_share=0.3)
    with pytest.raises(ValueError, match=r"dataset\.test_share must lie between 0 and 1, got 0"):
        FolderDataset("test", data_root=classes / "whole", image_size=8, test_share=0)
    with pytest.raises(ValueError, match="give one source of labels"):
        ImageFiles(data_root=plain, image_size=8, class_folders=True, labels_file="x.csv")
