import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_ext.datasets import TinyImageNet, tiny_imagenet

WNIDS = ["n03", "n01", "n02"]  # wnids.txt is not sorted


def jpeg(grey, size=64, mode="RGB"):
    buffer = io.BytesIO()
    Image.new("L", (size, size), grey).convert(mode).save(buffer, "JPEG")
    return buffer.getvalue()


def write(tree):
    """Three classes of two images, grey level 20 × class + 5 × image; four labelled val images."""
    files = {
        "wnids.txt": "\n".join(WNIDS).encode(),
        "words.txt": b"n01\tgoldfish, Carassius\nn02\tbullfrog\nn99\tunused",
        "val/val_annotations.txt": b"".join(
            f"val_{i}.JPEG\t{wnid}\t0\t0\t9\t9\n".encode()
            for i, wnid in enumerate(["n02", "n01", "n03", "n01"])
        ),
    }
    for number, wnid in enumerate(sorted(WNIDS)):
        for image in range(2):
            mode = "L" if image else "RGB"  # some official files are grey
            files[f"train/{wnid}/images/{wnid}_{image}.JPEG"] = jpeg(20 * number + 5 * image, mode=mode)
    for image in range(4):
        files[f"val/images/val_{image}.JPEG"] = jpeg(100 + 10 * image)
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "tiny-imagenet-200")
    return tmp_path


def levels(data):
    assert data.images.shape[1:] == (3, 64, 64)
    assert np.ptp(data.images.numpy(), axis=(1, 2, 3)).max() <= 2  # each image is one grey level
    return data.images.float().mean((1, 2, 3)).round().int().tolist()


def test_both_splits_from_the_tree_and_again_from_the_cache(root, monkeypatch):
    for _ in range(2):
        train, test = TinyImageNet("train", str(root)), TinyImageNet("test", str(root))
        assert levels(train) == [0, 5, 20, 25, 40, 45]
        assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert levels(test) == [100, 110, 120, 130]
        assert test.labels.tolist() == [1, 0, 2, 0]
        assert train.classes == test.classes == ("goldfish", "bullfrog", "n03")
        assert train.available_splits == ("train", "test")
        # Nothing may be decoded from here on.
        monkeypatch.setattr(tiny_imagenet, "_decode", None)
    found = np.load(root / "tiny-imagenet-200" / "train_images.npy")
    assert found.shape == (6, 3, 64, 64)


def test_read_only_tree_is_decoded_without_a_cache(root, monkeypatch):
    lines = []
    monkeypatch.setattr(tiny_imagenet, "print_log", lambda line, **_: lines.append(line))
    monkeypatch.setattr(tiny_imagenet.os, "access", lambda *_: False)
    assert levels(TinyImageNet("train", str(root))) == [0, 5, 20, 25, 40, 45]
    assert "not writable" in lines[0]
    assert not list(root.rglob("*.npy"))


def test_truncated_and_wrong_sized_images_are_named(root):
    path = root / "tiny-imagenet-200" / "train" / "n02" / "images" / "n02_1.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"n02_1\.JPEG: cannot be decoded"):
        TinyImageNet("train", str(root))
    path.write_bytes(jpeg(3, size=32))
    with pytest.raises(ValueError, match=r"n02_1\.JPEG: should have 64 × 64 pixels"):
        TinyImageNet("train", str(root))
    assert not list(root.rglob("*.npy"))


def test_incomplete_trees(root):
    tree = root / "tiny-imagenet-200"
    (tree / "val" / "images" / "val_2.JPEG").unlink()
    with pytest.raises(ValueError, match=r"val_2\.JPEG: missing"):
        TinyImageNet("test", str(root))
    (tree / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn77\t0\t0\t1\t1\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt: line 1 names no class"):
        TinyImageNet("test", str(root))
    (tree / "val" / "val_annotations.txt").unlink()
    with pytest.raises(ValueError, match=r"val_annotations\.txt: missing"):
        TinyImageNet("test", str(root))
    for path in (tree / "train" / "n03" / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"n03/images: holds no \.JPEG"):
        TinyImageNet("train", str(root))


def test_damaged_cache_is_named(root):
    TinyImageNet("train", str(root))
    cache = root / "tiny-imagenet-200" / "train_images.npy"
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=r"train_images\.npy: cannot be read"):
        TinyImageNet("train", str(root))
    np.save(cache, np.zeros((6, 64, 64), np.uint8))
    with pytest.raises(ValueError, match=r"train_images\.npy: should be uint8.*delete it"):
        TinyImageNet("train", str(root))


def test_missing_tree_and_split(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wnids\.txt.*download=True.*unpack http"):
        TinyImageNet("train", str(tmp_path))
    with pytest.raises(ValueError, match="no split 'val'; available: 'train', 'test'"):
        TinyImageNet("val", str(tmp_path))


def test_download_is_unpacked_beside_itself(root, tmp_path, monkeypatch):
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in (root / "tiny-imagenet-200").rglob("*"):
            target.write(path, path.relative_to(root))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(tiny_imagenet, "MD5", md5)

    def fetch(url, folder, filename, expected):
        assert (url, expected) == (tiny_imagenet.URL, md5)
        (Path(folder) / filename).write_bytes(archive.read_bytes())

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    home = tmp_path / "deep" / "data"
    data = TinyImageNet("test", str(home), download=True)
    assert levels(data) == [100, 110, 120, 130]
    assert sorted(path.name for path in home.iterdir() if path.name[0] != ".") == [
        "tiny-imagenet-200",
        "tiny-imagenet-200.zip",
    ]
