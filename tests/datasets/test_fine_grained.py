"""Birds and aircraft from folders with the layout of the official archives."""

import tarfile

import pytest
import torch
from PIL import Image

from ssl_ext.datasets import CUB200, FGVCAircraft, fine_grained


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, int):
        Image.new("RGB", (12, 10), (content,) * 3).save(path, "PNG")  # lossless despite the suffix
    else:
        path.write_text("\n".join(content) + "\n", encoding="utf-8")


@pytest.fixture
def birds(tmp_path):
    """Three images of two species; the lists are not sorted by species."""
    tree = tmp_path / "CUB_200_2011"
    write(tree / "classes.txt", ["1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"])
    files = ["002.Laysan_Albatross/a.jpg", "001.Black_footed_Albatross/b.jpg", "002.Laysan_Albatross/c.jpg"]
    write(tree / "images.txt", [f"{number} {name}" for number, name in enumerate(files, start=1)])
    write(tree / "image_class_labels.txt", ["1 2", "2 1", "3 2"])
    write(tree / "train_test_split.txt", ["1 0", "2 1", "3 1"])
    for number, name in enumerate(files, start=1):
        write(tree / "images" / name, 40 * number)
    return tmp_path


@pytest.fixture
def aircraft(tmp_path):
    """Variants with spaces and slashes; train and val form the train split."""
    data = tmp_path / "fgvc-aircraft-2013b/data"
    write(data / "variants.txt", ["707-320", "F/A-18", "Spitfire Mk I"])
    lists = dict(train=["0000001 F/A-18"], val=["0000002 707-320"], test=["0000003 Spitfire Mk I"])
    lists["trainval"] = lists["train"] + lists["val"]
    for split, lines in lists.items():
        write(data / f"images_variant_{split}.txt", lines)
    for number in (1, 2, 3):
        write(data / f"images/{number:07}.jpg", 40 * number)
    return tmp_path


def content(dataset):
    """(grey level, class name) of each image."""
    return [
        (int(sample["inputs"].float().mean()), dataset.classes[sample["labels"]])
        for sample in samples(dataset)
    ]


def samples(dataset):
    return (dataset[index] for index in range(len(dataset)))


def test_birds_have_the_official_split_and_labels(birds):
    train = CUB200("train", str(birds), image_size=8)
    assert content(train) == [(80, "Black footed Albatross"), (120, "Laysan Albatross")]
    assert content(CUB200("test", str(birds), image_size=8)) == [(40, "Laysan Albatross")]
    assert train.num_classes == 2
    assert train.available_splits == ("train", "test")
    assert train.metainfo["split"] == "train"
    sample = CUB200("train", str(birds), image_size=6, crop="random")[1]
    assert sample["inputs"].shape == (3, 6, 6)
    assert (sample["inputs"].dtype, sample["indices"]) == (torch.uint8, 1)


def test_aircraft_train_on_the_official_trainval(aircraft):
    train = FGVCAircraft("train", str(aircraft), image_size=8)
    assert content(train) == [(40, "F/A-18"), (80, "707-320")]
    assert content(FGVCAircraft("test", str(aircraft), image_size=8)) == [(120, "Spitfire Mk I")]
    assert train.num_classes == 3


@pytest.mark.parametrize(
    ("kind", "lists"),
    [(CUB200, "train_test_split.txt"), (FGVCAircraft, "variants.txt")],
    ids=["birds", "aircraft"],
)
def test_a_missing_tree_is_named_with_its_archive(kind, lists, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{lists}(.|\n)*{kind.archive.url}"):
        kind("train", str(tmp_path), image_size=8)
    with pytest.raises(ValueError, match="has no split 'val'"):
        kind("val", str(tmp_path), image_size=8)


def test_download_unpacks_the_archive_once(birds, tmp_path_factory, monkeypatch):
    archive = tmp_path_factory.mktemp("server") / "CUB_200_2011.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(birds / "CUB_200_2011", "CUB_200_2011")
    calls = []

    def fetch(url, root, md5):
        calls.append((url, md5))
        with tarfile.open(archive) as file:
            file.extractall(root)

    monkeypatch.setattr(fine_grained, "download_and_extract_archive", fetch)
    folder = tmp_path_factory.mktemp("data")
    for _ in range(2):
        assert len(CUB200("train", str(folder), image_size=8, download=True)) == 2
    assert calls == [CUB200.archive[:2]]

    def fail(url, root, md5):
        raise OSError("no route")

    monkeypatch.setattr(fine_grained, "download_and_extract_archive", fail)
    with pytest.raises(ConnectionError, match="no route"):
        FGVCAircraft("train", str(folder), image_size=8, download=True)


def test_damaged_lists_are_named(birds, aircraft):
    write(birds / "CUB_200_2011/image_class_labels.txt", ["1 2", "2 1"])
    with pytest.raises(ValueError, match="not have the same images"):
        CUB200("train", str(birds), image_size=8)
    data = aircraft / "fgvc-aircraft-2013b/data"
    write(data / "images_variant_test.txt", ["0000003"])
    with pytest.raises(ValueError, match=r"images_variant_test.txt.*line 1 holds one word"):
        FGVCAircraft("test", str(aircraft), image_size=8)
    write(data / "images_variant_test.txt", ["0000003 Hurricane"])
    with pytest.raises(ValueError, match="does not name every variant"):
        FGVCAircraft("test", str(aircraft), image_size=8)
    (data / "images_variant_test.txt").unlink()
    with pytest.raises(ValueError, match="was not unpacked completely"):
        FGVCAircraft("test", str(aircraft), image_size=8)
