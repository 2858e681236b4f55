import hashlib
import pickle

import numpy as np
import pytest
import torchvision

from ssl_ext.datasets import CIFAR10, CIFAR100, STL10

RNG = np.random.default_rng(0)


def checksum(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def fake_cifar(root, monkeypatch, source, label_key, classes):
    """Write batches in the official format and patch the official checksums to match them."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    expected = {}
    for attribute, split in (("train_list", "train"), ("test_list", "test")):
        images, labels, sums = [], [], []
        for name, _ in getattr(source, attribute):
            data = RNG.integers(0, 256, (3, 3072), dtype=np.uint8)
            found = RNG.integers(0, classes, 3).tolist()
            (folder / name).write_bytes(pickle.dumps({"data": data, label_key: found}))
            sums.append([name, checksum(folder / name)])
            images.append(data.reshape(-1, 3, 32, 32))
            labels += found
        expected[split] = np.concatenate(images), labels
        monkeypatch.setattr(source, attribute, sums)
    names = [f"class {number}" for number in range(classes)]
    meta = folder / source.meta["filename"]
    meta.write_bytes(pickle.dumps({source.meta["key"]: names}))
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": checksum(meta)})
    return expected


@pytest.mark.parametrize(
    ("cls", "source", "key", "classes"),
    [
        (CIFAR10, torchvision.datasets.CIFAR10, "labels", 10),
        (CIFAR100, torchvision.datasets.CIFAR100, "fine_labels", 100),
    ],
)
def test_cifar_reads_both_splits(tmp_path, monkeypatch, cls, source, key, classes):
    expected = fake_cifar(tmp_path, monkeypatch, source, key, classes)
    for split, (images, labels) in expected.items():
        data = cls(split, str(tmp_path))
        assert np.array_equal(data.images.numpy(), images)
        assert data.labels.tolist() == labels
        assert data.num_classes == classes
        assert data.classes[3] == "class 3"
        assert data.available_splits == ("train", "test")
        assert data.metainfo["split"] == split


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_a_foreign_pickle_is_refused_before_it_runs(tmp_path, monkeypatch):
    fake_cifar(tmp_path, monkeypatch, torchvision.datasets.CIFAR10, "labels", 10)
    marker = tmp_path / "marker"
    for name in ("batches.meta", "data_batch_3"):
        path = tmp_path / "cifar-10-batches-py" / name
        path.write_bytes(pickle.dumps(Bomb(marker)))
        with pytest.raises(ValueError, match=rf"{name}: the MD5 checksum differs"):
            CIFAR10("train", str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize("cls", [CIFAR10, CIFAR100, STL10])
def test_missing_files(tmp_path, cls):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}.*download=True.*unpack http"):
        cls("train", str(tmp_path))
    with pytest.raises(ValueError, match="no split 'val'; available: 'train', 'test'.*holds out a seeded"):
        cls("val", str(tmp_path))


@pytest.mark.parametrize("cls", [CIFAR10, STL10])
def test_a_failed_download_names_the_way_by_hand(tmp_path, monkeypatch, cls):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("ssl_ext.datasets.cifar.download_and_extract_archive", refuse)
    monkeypatch.setattr("ssl_ext.datasets.stl10.download_and_extract_archive", refuse)
    with pytest.raises(ConnectionError, match=r"no route to host.*By hand: unpack"):
        cls("test", str(tmp_path / "new"), download=True)


def fake_stl10(root, monkeypatch, labels=None):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for part, count in (("train", 4), ("test", 3), ("unlabeled", 5)):
        images[part] = RNG.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        images[part].transpose(0, 1, 3, 2).tofile(folder / f"{part}_X.bin")
    np.array(labels or [1, 10, 3, 4], np.uint8).tofile(folder / "train_y.bin")
    np.array([2, 2, 9], np.uint8).tofile(folder / "test_y.bin")
    source = torchvision.datasets.STL10
    for attribute in ("train_list", "test_list"):
        sums = [[name, checksum(folder / name)] for name, _ in getattr(source, attribute)]
        monkeypatch.setattr(source, attribute, sums)
    return images


def test_stl10_splits(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_ext.datasets.stl10.CHUNK", 3)  # several chunks per file
    images = fake_stl10(tmp_path, monkeypatch)
    expected = {
        "train": (images["train"], [0, 9, 2, 3]),
        "test": (images["test"], [1, 1, 8]),
        "unlabeled": (images["unlabeled"], [-1] * 5),
        "train+unlabeled": (
            np.concatenate([images["train"], images["unlabeled"]]),
            [0, 9, 2, 3] + [-1] * 5,
        ),
    }
    for split, (pixels, labels) in expected.items():
        data = STL10(split, str(tmp_path))
        assert np.array_equal(data.images.numpy(), pixels)
        assert data.labels.tolist() == labels
        assert data.num_classes == 10
        assert data.available_splits == tuple(sorted(expected, key=list(expected).index))


def test_stl10_reads_like_torchvision(tmp_path, monkeypatch):
    fake_stl10(tmp_path, monkeypatch)
    theirs = torchvision.datasets.STL10(tmp_path, split="train+unlabeled")
    ours = STL10("train+unlabeled", str(tmp_path))
    assert np.array_equal(ours.images.numpy(), theirs.data)
    assert ours.labels[:4].tolist() == theirs.labels[:4].tolist()


def test_stl10_needs_only_the_files_of_its_split(tmp_path, monkeypatch):
    fake_stl10(tmp_path, monkeypatch)
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").unlink()
    assert len(STL10("test", str(tmp_path))) == 3
    with pytest.raises(FileNotFoundError, match="unlabeled_X.bin"):
        STL10("train+unlabeled", str(tmp_path))


def test_stl10_damaged_files(tmp_path, monkeypatch):
    fake_stl10(tmp_path, monkeypatch)
    path = tmp_path / "stl10_binary" / "test_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test_X\.bin: the MD5"):
        STL10("test", str(tmp_path))
    monkeypatch.setattr("ssl_ext.datasets.stl10.verify_files", lambda *_: None)
    with pytest.raises(ValueError, match=r"test_X\.bin: should hold a multiple of 27648"):
        STL10("test", str(tmp_path))


def test_stl10_labels_out_of_range(tmp_path, monkeypatch):
    fake_stl10(tmp_path, monkeypatch, labels=[1, 0, 2, 3])
    with pytest.raises(ValueError, match=r"train_y\.bin: should hold 4 labels from 1 to 10"):
        STL10("train", str(tmp_path))
