"""STL-10."""

import os
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import check_integrity

from ssl_ext.datasets.archives import download_and_extract_archive
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split, damaged_file, downloading, verify_files
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test", "unlabeled", "train+unlabeled")
CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
PIXELS = 3 * 96 * 96
CHUNK = 1000  # images


@DATASETS.register_module()
class STL10(ArrayDataset):
    """STL-10: 5,000 train, 8,000 test and 100,000 unlabelled images of 96 × 96 pixels, 10 classes.

    Labels of ``'unlabeled'`` are −1; ``'train+unlabeled'`` (105,000 images, 2.7 GiB) starts with
    the labelled images. Only the files of the given split are read and verified.

    Args:
        split: ``'train'``, ``'test'``, ``'unlabeled'`` or ``'train+unlabeled'``.
        data_root: folder that holds ``stl10_binary``.
        download: fetch and unpack the archive unless the files exist.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, or a file whose checksum or length is wrong.
    """

    def __init__(
        self,
        split: str,
        data_root: str = "data/stl10",
        *,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        check_split(split, SPLITS, "STL10")
        source = torchvision.datasets.STL10
        folder = Path(data_root).expanduser() / source.base_folder
        by_hand = f"unpack {source.url} so that {os.path.abspath(folder)} exists"
        checksums = dict([*source.train_list, *source.test_list])
        parts = split.split("+")
        names = [f"{part}_X.bin" for part in parts]
        names += [f"{part}_y.bin" for part in parts if part != "unlabeled"]
        files = [(name, checksums[name]) for name in names]
        if download:
            with downloading(Path(data_root).expanduser(), "STL10", source.url, by_hand):
                if not all(check_integrity(folder / name, md5) for name, md5 in files):
                    download_and_extract_archive(
                        source.url, data_root, filename=source.filename, md5=source.tgz_md5
                    )
        verify_files(folder, files, "STL10", by_hand)
        counts = [_count(folder / f"{part}_X.bin") for part in parts]
        images = np.empty((sum(counts), 3, 96, 96), np.uint8)
        labels = np.full(sum(counts), -1, np.int64)
        start = 0
        for part, count in zip(parts, counts, strict=True):
            stop = start + count
            _fill(folder / f"{part}_X.bin", images[start:stop])
            if part != "unlabeled":
                path = folder / f"{part}_y.bin"
                found = np.fromfile(path, np.uint8)
                if len(found) != count or found.min() < 1 or found.max() > 10:
                    raise damaged_file(path, f"should hold {count} labels from 1 to 10")
                labels[start:stop] = found.astype(np.int64) - 1
            start = stop
        super().__init__(images, labels, classes=CLASSES, device=device, available_splits=SPLITS, split=split)
        self.source_files = [(folder / name, md5) for name, md5 in files]


def _count(path: Path) -> int:
    count, rest = divmod(path.stat().st_size, PIXELS)
    if rest or not count:
        raise damaged_file(path, f"should hold a multiple of {PIXELS} bytes (3 × 96 × 96 pixels)")
    return count


def _fill(path: Path, images: np.ndarray) -> None:
    """Read column-major images into ``images`` in chunks, which bounds the extra memory."""
    with open(path, "rb") as file:
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            block = np.fromfile(file, np.uint8, part.size)
            part[:] = block.reshape(part.shape).transpose(0, 1, 3, 2)
