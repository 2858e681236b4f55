"""Tiny ImageNet."""

import logging
import os
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log

from ssl_ext.datasets.archives import download_and_extract_archive
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.decode import read_image
from ssl_ext.datasets.files import (
    check_split,
    damaged_file,
    downloading,
    load_array,
    locked,
    missing_file,
    save_array,
)
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test")
FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


@DATASETS.register_module()
class TinyImageNet(ArrayDataset):
    """Tiny ImageNet: 100,000 train and 10,000 test images of 64 × 64 pixels, 200 classes.

    ``'test'`` is the official labelled *validation* part, as everywhere in the literature: the
    official test part has no public labels. Each split is decoded once and cached in the folder as
    ``{split}_images.npy`` and ``{split}_labels.npy``; delete both after changing the images.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``tiny-imagenet-200``.
        download: fetch and unpack the archive unless the files exist.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, missing files, damaged image or cache.
    """

    def __init__(
        self,
        split: str,
        data_root: str = "data/tiny_imagenet",
        *,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        check_split(split, SPLITS, "TinyImageNet")
        root, tree = Path(data_root).expanduser(), Path(data_root).expanduser() / FOLDER
        by_hand = f"unpack {URL} (MD5 {MD5}) so that {os.path.abspath(tree)} exists"
        if download and not (tree / "wnids.txt").is_file():
            with downloading(root, "TinyImageNet", URL, by_hand):
                if not (tree / "wnids.txt").is_file():
                    download_and_extract_archive(URL, data_root, md5=MD5)
        if not (tree / "wnids.txt").is_file():
            raise missing_file(tree / "wnids.txt", "TinyImageNet", by_hand)
        wnids = sorted((tree / "wnids.txt").read_text().split())
        images, labels = _load(tree, split, wnids)
        super().__init__(
            images,
            labels,
            classes=_names(tree, wnids),
            device=device,
            available_splits=SPLITS,
            split=split,
        )


def _load(tree: Path, split: str, wnids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    images_path, labels_path = tree / f"{split}_images.npy", tree / f"{split}_labels.npy"
    if not images_path.is_file() and not os.access(tree, os.W_OK):
        print_log(
            f"{tree} is not writable: its images are decoded again in every run",
            logger="current",
            level=logging.WARNING,
        )
        return _decode(tree, split, wnids)
    if not images_path.is_file():
        with locked(tree):
            if not images_path.is_file():
                images, labels = _decode(tree, split, wnids)
                save_array(labels_path, labels)
                save_array(images_path, images)  # last: its presence marks both as complete
                return images, labels
    images, labels = load_array(images_path), load_array(labels_path)
    if images.dtype != np.uint8 or images.shape != (len(labels), 3, 64, 64):
        raise damaged_file(
            images_path,
            f"should be uint8 of shape ({len(labels)}, 3, 64, 64), got {images.dtype} "
            f"{images.shape}; delete it to have it written again",
        )
    return images, labels


def _decode(tree: Path, split: str, wnids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    files = _list_train(tree, wnids) if split == "train" else _list_val(tree, wnids)
    print_log(f"decoding {len(files)} images of {tree} once", logger="current")
    images = np.empty((len(files), 3, 64, 64), np.uint8)
    for target, (path, _) in zip(images, files, strict=True):
        if not path.is_file():
            raise damaged_file(path, "missing: unpack the archive again")
        image = np.asarray(read_image(path))
        if image.shape != (64, 64, 3):
            raise damaged_file(path, f"should have 64 × 64 pixels, got {image.shape[:2]}")
        target[:] = image.transpose(2, 0, 1)
    return images, np.array([label for _, label in files], np.int64)


def _list_train(tree: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    files = []
    for label, wnid in enumerate(wnids):
        found = sorted((tree / "train" / wnid / "images").glob("*.JPEG"))
        if not found:
            raise damaged_file(tree / "train" / wnid / "images", "holds no .JPEG file")
        files += [(path, label) for path in found]
    return files


def _list_val(tree: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    annotations = tree / "val" / "val_annotations.txt"
    if not annotations.is_file():
        raise damaged_file(annotations, "missing: unpack the archive again")
    index = {wnid: label for label, wnid in enumerate(wnids)}
    files = []
    for number, line in enumerate(annotations.read_text().splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in index:
            raise damaged_file(annotations, f"line {number} names no class of wnids.txt: {line!r}")
        files.append((tree / "val" / "images" / fields[0], index[fields[1]]))
    return files


def _names(tree: Path, wnids: list[str]) -> list[str]:
    """Return the first name of each class in words.txt, or its WordNet ID if it has none."""
    words: dict[str, str] = {}
    if (tree / "words.txt").is_file():
        for line in (tree / "words.txt").read_text().splitlines():
            wnid, _, names = line.partition("\t")
            words[wnid] = names.split(",")[0].strip()
    return [words.get(wnid) or wnid for wnid in wnids]
