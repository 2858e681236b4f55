import bz2
import gzip
import hashlib
import pickle

import numpy as np
import pytest
import scipy.io
import torch
import torchvision

from ssl_ext.datasets import KMNIST, MNIST, SVHN, USPS, FashionMNIST

RNG = np.random.default_rng(0)
IDX = dict(train=("train", 5), test=("t10k", 3))


def checksum(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx_bytes(array):
    """The IDX format: 0, 0, type 8 (bytes), dimensions, big-endian sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def fake_mnist(root, name):
    """Write both splits in the official format and return them."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    expected = {}
    for split, (prefix, count) in IDX.items():
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = RNG.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        expected[split] = images, labels.tolist()
    return expected


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST, KMNIST])
def test_mnist_family_reads_both_splits_as_torchvision_does(tmp_path, cls):
    expected = fake_mnist(tmp_path, cls.__name__)
    for split, (images, labels) in expected.items():
        data = cls(split, str(tmp_path), as_rgb=False)
        assert np.array_equal(data.images[:, 0].numpy(), images)
        assert data.images.shape[1:] == (1, 28, 28)
        assert data.labels.tolist() == labels
        theirs = cls.source(tmp_path, train=split == "train")
        assert torch.equal(data.images[:, 0], theirs.data)
        assert data.classes == tuple(theirs.classes)
        assert len(data.classes) == data.num_classes == 10
        assert data.available_splits == ("train", "test")
        assert data.metainfo["split"] == split


def test_grey_images_for_a_colour_network(tmp_path):
    fake_mnist(tmp_path, "MNIST")
    small = MNIST("train", str(tmp_path), as_rgb=True).images
    large = MNIST("train", str(tmp_path), as_rgb=True, image_size=32).images
    assert small.shape[1:] == (3, 28, 28)
    assert large.shape[1:] == (3, 32, 32)
    for channel in (1, 2):
        assert torch.equal(large[:, 0], large[:, channel])
    assert (small.float().mean((1, 2, 3)) - large.float().mean((1, 2, 3))).abs().max() < 4


def test_chunks_do_not_show(tmp_path, monkeypatch):
    fake_mnist(tmp_path, "MNIST")
    whole = MNIST("train", str(tmp_path), as_rgb=False, image_size=40).images
    monkeypatch.setattr("ssl_ext.datasets.grey.CHUNK", 2)
    assert torch.equal(MNIST("train", str(tmp_path), as_rgb=False, image_size=40).images, whole)


@pytest.mark.parametrize(("cls", "own"), [(MNIST, 28), (USPS, 16)])
def test_images_are_never_made_smaller(tmp_path, monkeypatch, cls, own):
    fake_mnist(tmp_path, "MNIST")
    fake_usps(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=f"image_size of {cls.__name__} must be at least {own}, got 8"):
        cls("train", str(tmp_path), as_rgb=False, image_size=8)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: gzip.compress(data),
        lambda data: pickle.dumps([1, 2]),
        lambda data: idx_bytes(np.zeros((3, 16, 16), np.uint8)),
        lambda data: idx_bytes(np.zeros(3, np.uint8)),
    ],
    ids=["cut", "empty", "packed", "pickle", "other size", "labels"],
)
def test_mnist_names_a_damaged_file(tmp_path, damage):
    fake_mnist(tmp_path, "MNIST")
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path}: (not a complete IDX file|should hold images)"):
        MNIST("test", str(tmp_path), as_rgb=False)
    assert len(MNIST("train", str(tmp_path), as_rgb=False)) == 5  # only needs the files of its split


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_mnist_never_opens_the_pickles_of_old_torchvision(tmp_path):
    folder, marker = tmp_path / "MNIST" / "processed", tmp_path / "marker"
    folder.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        torch.save(Bomb(marker), folder / name)
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        MNIST("train", str(tmp_path), as_rgb=False)
    assert not marker.exists()


def test_mnist_download_tries_the_next_mirror_and_unpacks(tmp_path, monkeypatch):
    made = fake_mnist(tmp_path / "made", "MNIST")
    asked = []

    def fetch(url, root, filename, md5):
        asked.append(url)
        if url.startswith(torchvision.datasets.MNIST.mirrors[0]):
            raise OSError("no route to host")
        source = tmp_path / "made" / "MNIST" / "raw" / filename.removesuffix(".gz")
        (tmp_path / "new" / "MNIST" / "raw" / source.name).write_bytes(source.read_bytes())

    monkeypatch.setattr("ssl_ext.datasets.mnist.download_and_extract_archive", fetch)
    for _ in range(2):
        data = MNIST("test", str(tmp_path / "new"), as_rgb=False, download=True)
        assert np.array_equal(data.images[:, 0].numpy(), made["test"][0])
    assert len(asked) == 8  # four archives from two mirrors, once


def fake_usps(root, monkeypatch):
    """Write both splits in LIBSVM's format, labels from 1 and pixels from -1 to 1."""
    expected, sums = {}, {}
    for split, (url, name, _) in torchvision.datasets.USPS.split_list.items():
        pixels = RNG.integers(0, 256, (4, 256))
        labels = [0, 9, 3, 5]
        lines = [
            f"{label + 1} " + " ".join(f"{i + 1}:{value / 127.5 - 1:.6f}" for i, value in enumerate(row))
            for label, row in zip(labels, pixels, strict=True)
        ]
        (root / name).write_bytes(bz2.compress("\n".join(lines).encode()))
        sums[split] = [url, name, checksum(root / name)]
        expected[split] = pixels.reshape(4, 16, 16), labels
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", sums)
    return expected


def test_usps(tmp_path, monkeypatch):
    for split, (pixels, labels) in fake_usps(tmp_path, monkeypatch).items():
        data = USPS(split, str(tmp_path), as_rgb=False)
        assert data.images.shape == (4, 1, 16, 16)
        # torchvision truncates, so a value printed with six digits can be one lower.
        assert np.abs(data.images[:, 0].numpy().astype(int) - pixels).max() <= 1
        assert data.labels.tolist() == labels
        assert data.classes[3] == "3"
        assert data.available_splits == ("train", "test")
        assert USPS(split, str(tmp_path), as_rgb=True, image_size=32).images.shape == (4, 3, 32, 32)


def fake_svhn(root, monkeypatch):
    expected, sums = {}, {}
    for count, (split, (url, name, _)) in enumerate(torchvision.datasets.SVHN.split_list.items(), 3):
        images = RNG.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        labels = np.arange(count) * 5 % 10
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(root / name, {"X": images.transpose(2, 3, 1, 0), "y": stored})
        sums[split] = [url, name, checksum(root / name)]
        expected[split] = images, labels.tolist()
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", sums)
    return expected


def test_svhn(tmp_path, monkeypatch):
    expected = fake_svhn(tmp_path, monkeypatch)
    assert set(expected) == {"train", "test", "extra"}
    for split, (images, labels) in expected.items():
        data = SVHN(split, str(tmp_path))
        assert np.array_equal(data.images.numpy(), images)
        assert data.labels.tolist() == labels
        assert data.num_classes == 10
        assert data.available_splits == ("train", "test", "extra")


@pytest.mark.parametrize(("cls", "fake"), [(USPS, fake_usps), (SVHN, fake_svhn)])
def test_a_file_with_another_checksum_is_refused_unread(tmp_path, monkeypatch, cls, fake):
    fake(tmp_path, monkeypatch)
    name = getattr(torchvision.datasets, cls.__name__).split_list["train"][1]
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(ValueError, match=f"{name}: the MD5 checksum differs"):
        cls("train", str(tmp_path), **options(cls))
    assert not marker.exists()


def options(cls):
    return {} if cls is SVHN else {"as_rgb": True}


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST, KMNIST, USPS, SVHN])
def test_nothing_is_downloaded_unasked(tmp_path, monkeypatch, cls):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("ssl_ext.datasets.mnist.download_and_extract_archive", refuse)
    monkeypatch.setattr("ssl_ext.datasets.archives.download_url", refuse)
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}.*download=True.*or by hand: put .*http"):
        cls("train", str(tmp_path), **options(cls))
    assert not any(tmp_path.iterdir())
    with pytest.raises(ConnectionError, match=r"no route to host.*By hand: put .*http"):
        cls("test", str(tmp_path / "new"), download=True, **options(cls))
    with pytest.raises(ValueError, match="no split 'val'; available: 'train', 'test'.*holds out a seeded"):
        cls("val", str(tmp_path), **options(cls))
