import hashlib
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torchvision
from medmnist import INFO

from ssl_ext.config.papers import read_table
from ssl_ext.datasets import MedMNIST, medmnist
from ssl_ext.datasets.files import data_files

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
FLAT = [name for name in INFO if not name.endswith("3d")]
COUNTS = {"train": 9, "val": 4, "test": 5}


def arrays(name, size=28):
    rng = np.random.default_rng(len(name))
    channels = () if INFO[name]["n_channels"] == 1 else (3,)
    classes, found = len(INFO[name]["label"]), {}
    for split, count in COUNTS.items():
        found[f"{split}_images"] = rng.integers(0, 256, (count, size, size, *channels), np.uint8)
        multi = INFO[name]["task"].startswith("multi-label")
        shape, top = ((count, classes), 2) if multi else ((count, 1), classes)
        found[f"{split}_labels"] = rng.integers(0, top, shape, np.uint8)
    return found


def write(folder, name, size=28, **changes):
    found = {**arrays(name, size), **changes}
    np.savez_compressed(folder / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz"), **found)
    return found


@pytest.mark.parametrize("name", FLAT)
def test_every_set_reads_like_the_package(tmp_path, name):
    found = write(tmp_path, name)
    tasks = {
        "chestmnist": "multi-label", "retinamnist": "ordinal",
        "breastmnist": "binary", "pneumoniamnist": "binary",
    }  # fmt: skip
    for split, count in COUNTS.items():
        data = MedMNIST(name, split, str(tmp_path), as_rgb=True)
        images = found[f"{split}_images"].reshape(count, 28, 28, -1)
        expected = np.broadcast_to(images, (count, 28, 28, 3)).transpose(0, 3, 1, 2)
        assert np.array_equal(data.__getitems__(range(count))["inputs"].numpy(), expected)
        labels = found[f"{split}_labels"]
        assert np.array_equal(data.labels.numpy().reshape(labels.shape), labels)
        assert data.task == tasks.get(name, "multi-class")
        assert data.classes == tuple(INFO[name]["label"][str(i)] for i in range(data.num_classes))
        assert data.num_classes == len(INFO[name]["label"])
        assert data.available_splits == ("train", "val", "test")


def test_grey_stays_grey_and_colour_cannot(tmp_path):
    found = write(tmp_path, "breastmnist")
    data = MedMNIST("breastmnist", "val", str(tmp_path), as_rgb=False)
    assert np.array_equal(data.images.numpy(), found["val_images"][:, None])
    with pytest.raises(ValueError, match="bloodmnist has colour images.*as_rgb"):
        MedMNIST("bloodmnist", "val", str(tmp_path), as_rgb=False)
    with pytest.raises(TypeError, match="as_rgb"):
        MedMNIST("breastmnist", "val", str(tmp_path))


def test_other_sizes_have_their_own_file(tmp_path):
    found = write(tmp_path, "octmnist", size=64)
    data = MedMNIST("octmnist", "test", str(tmp_path), as_rgb=False, size=64)
    assert np.array_equal(data.images.numpy()[:, 0], found["test_images"])
    with pytest.raises(FileNotFoundError, match=r"octmnist\.npz.*download=True.*zenodo"):
        MedMNIST("octmnist", "test", str(tmp_path), as_rgb=False)
    with pytest.raises(ValueError, match="dataset.size.*32"):
        MedMNIST("octmnist", "test", str(tmp_path), as_rgb=False, size=32)


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("organmnist3d", "train", "is a 3D set"),
        ("mnist", "train", "'mnist' is unknown.*pathmnist"),
        ("octmnist", "extra", "'extra'; available: 'train', 'val', 'test'"),
    ],
)
def test_bad_names(tmp_path, name, split, words):
    with pytest.raises(ValueError, match=words):
        MedMNIST(name, split, str(tmp_path), as_rgb=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_images": np.zeros((9, 28, 28, 3), np.uint8)}, "train_images should be uint8"),
        ({"train_images": np.zeros((9, 28, 28), np.float32)}, "float32"),
        ({"train_labels": np.zeros((8, 1), np.uint8)}, "N = 9"),
        ({"train_labels": np.full((9, 1), 7, np.uint8)}, "0 to 3"),
        ({"train_images": np.array([{}] * 9, object)}, "Python objects"),
    ],
)
def test_damaged_files_are_named(tmp_path, changes, words):
    write(tmp_path, "octmnist", **changes)
    with pytest.raises(ValueError, match=rf"octmnist\.npz: .*{words}"):
        MedMNIST("octmnist", "train", str(tmp_path), as_rgb=True)


def test_an_absent_array_is_named(tmp_path):
    np.savez(tmp_path / "octmnist.npz", train_images=np.zeros((9, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"octmnist\.npz: no array 'train_labels'"):
        MedMNIST("octmnist", "train", str(tmp_path), as_rgb=True)


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(medmnist, "print_log", lambda *args, **kwargs: lines.append((args, kwargs)))
    return lines


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_md5_of_a_file_is_compared_with_the_official_one(tmp_path, monkeypatch):
    write(tmp_path, "octmnist")
    path = tmp_path / "octmnist.npz"
    for official in (False, True):
        (file,) = data_files(MedMNIST("octmnist", "val", str(tmp_path), as_rgb=True))
        assert file == dict(path=str(path), md5=md5_of(path), official=official)
        monkeypatch.setitem(INFO["octmnist"], "MD5", md5_of(path))


def test_one_warning_for_a_file_that_is_not_official(tmp_path, monkeypatch, logged):
    write(tmp_path, "octmnist")
    for split in COUNTS:
        MedMNIST("octmnist", split, str(tmp_path), as_rgb=True)
    assert len(logged) == 1
    assert "octmnist.npz is not the official file" in logged[0][0][0]
    assert logged[0][1]["level"] == logging.WARNING
    monkeypatch.setitem(INFO["octmnist"], "MD5", md5_of(tmp_path / "octmnist.npz"))
    MedMNIST("octmnist", "train", str(tmp_path), as_rgb=True)
    assert len(logged) == 1


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve downloads from a folder; return it and the list of requested URLs."""
    source, asked = tmp_path / "server", []
    source.mkdir()

    def fetch(url, root, filename, md5):
        asked.append(url)
        with open(f"{root}/{filename}", "wb") as target:
            target.write((source / filename).read_bytes())

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fetch)
    return source, asked


def test_download_fetches_checks_and_does_it_once(tmp_path, monkeypatch, server, logged):
    source, asked = server
    found = write(source, "octmnist", size=64)
    monkeypatch.setitem(INFO["octmnist"], "MD5_64", md5_of(source / "octmnist_64.npz"))
    root = tmp_path / "new" / "medmnist"
    for _ in range(2):
        data = MedMNIST("octmnist", "val", str(root), as_rgb=False, size=64, download=True)
    assert np.array_equal(data.images[:, 0].numpy(), found["val_images"])
    assert asked == [INFO["octmnist"]["url_64"]]
    assert sorted(entry.name for entry in root.iterdir()) == [".lock", "octmnist_64.npz"]
    assert not logged


def test_download_keeps_a_file_that_it_replaces(tmp_path, monkeypatch, server):
    source, _ = server
    write(source, "octmnist")
    monkeypatch.setitem(INFO["octmnist"], "MD5", md5_of(source / "octmnist.npz"))
    write(tmp_path, "octmnist", val_labels=np.ones((4, 1), np.uint8))
    mine = (tmp_path / "octmnist.npz").read_bytes()
    MedMNIST("octmnist", "val", str(tmp_path), as_rgb=False, download=True)
    assert (tmp_path / "octmnist.npz.bak").read_bytes() == mine
    assert (tmp_path / "octmnist.npz").read_bytes() == (source / "octmnist.npz").read_bytes()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_wrong_or_failed_download_leaves_the_old_file(tmp_path, server, arrives):
    source, _ = server
    if arrives:
        write(source, "octmnist")  # its MD5 differs from the official one
    (tmp_path / "octmnist.npz").write_bytes(b"mine")
    with pytest.raises(ConnectionError, match="octmnist.*zenodo.*By hand"):
        MedMNIST("octmnist", "val", str(tmp_path), as_rgb=False, download=True)
    assert (tmp_path / "octmnist.npz").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".download-*"))


def test_the_thesis_counts_the_images_of_medmnist():
    """Sums of its classes, which are MedMNIST's numbers of images."""
    names = dict(
        pathology="pathmnist", dermatology="dermamnist", blood="bloodmnist", retina="retinamnist",
        tissue="tissuemnist", oct="octmnist",
    )  # fmt: skip
    sums = Counter()
    for cell in read_table(PAPERS / "thesis_counts.py").cells:
        sums[names[cell.at["row"].partition(":")[0]], cell.at["split"]] += int(cell.published)
    assert sums == {
        (name, split): INFO[name]["n_samples"][split]
        for name in names.values()
        for split in ("train", "val", "test")
    }
