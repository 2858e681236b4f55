"""A folder of image files."""

import os
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ssl_ext.datasets.dicom import is_dicom
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file
from ssl_ext.datasets.groups import dicom_groups
from ssl_ext.datasets.listing import Listing, holds_images, image_folder, list_images
from ssl_ext.datasets.paths import Paths
from ssl_ext.datasets.test_share import check_test_share, drawn_for_test
from ssl_ext.registry import DATASETS

USUAL_SPLITS = ("train", "val", "test")


@DATASETS.register_module()
class FolderDataset(FileDataset):
    """Image files, decoded by the loader's workers and cut to one size.

    Layouts: ``data_root/split/class/…`` or ``data_root/class/…`` (one split, ``'train'``). Images
    outside class folders have the label −1. Class folders are searched recursively; those without
    images are ignored. Labels index the sorted class names of ``train``, ``val`` and ``test``;
    classes that occur only in a split of another name come after them. The constructor lists the files
    and decodes none but a few of 16-bit grey or DICOM, to warn of dark ones; see
    :func:`ssl_ext.datasets.listing.list_images` for large folders. DICOM files are grouped by PatientID.

    Args:
        split: sub-folder of ``data_root``; None or ``'train'`` for a folder without splits.
        data_root: the folder.
        test_share: fraction of each class that is the split ``'test'`` of a folder without splits, in (0, 1);
            see :func:`.drawn_for_test`. None: all images are ``'train'``.
        download: must be False.
        **kwargs: ``image_size``, ``crop``, ``scale``, ``channels``, ``intensity``, ``frame``: see
            FileDataset.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: unknown split, option out of range, or no images; on access: a damaged file,
            named in the message.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/images",
        *,
        test_share: float | None = None,
        download: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if download:
            raise ValueError(f"dataset.download=True: {data_root} is a local folder and cannot be downloaded")
        self.root = root = image_folder(data_root, "FolderDataset")
        folder, available, sources = _layout(root, split, drawn=test_share is not None)
        listing = list_images(folder)
        classes = _classes(folder, listing, sources)
        files, labels = listing.files, _labels(folder, listing, classes)
        if folder == root and test_share is not None:
            rows = _drawn(files, labels, split or "train", test_share)
            files, labels = Paths.of(map(files.name, rows), root=files.root), labels[rows]
        self.set_files(
            files,
            labels,
            classes=classes,
            split=split or "train",
            available_splits=available,
        )

    @cached_property
    def groups(self) -> np.ndarray | None:  # type: ignore[override]
        """PatientID of each image of a folder of DICOM files, else None; read on first access."""
        if not is_dicom(self.files[0]):
            return None
        names = dicom_groups(self.files, self.root)
        return np.array(names) if names else None


def _sub_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if os.path.isdir(e.path) and not e.name.startswith("."))


def folder_splits(data_root: str | Path, test_share: float | None = None) -> tuple[str, ...]:
    """Names of the splits with images of a folder; see FolderDataset for ``test_share``."""
    root = image_folder(data_root, "FolderDataset")
    found = _sub_folders(root)
    if not any(name in found for name in USUAL_SPLITS):
        return ("train",) if test_share is None else ("train", "test")
    return tuple(name for name in found if holds_images(root / name))


def _layout(root: Path, split: str | None, *, drawn: bool) -> tuple[Path, tuple[str, ...], list[Path]]:
    """Return the folder of the split, the names of all splits, and the folders that define the classes."""
    found = _sub_folders(root)
    usual = [name for name in USUAL_SPLITS if name in found]
    if split not in found and not usual:
        available = ("train", "test") if drawn else ("train",)
        check_split(split or "train", available, f"FolderDataset {root} (no split sub-folders)")
        return root, available, [root]
    folder = root / check_split(split, tuple(found), f"FolderDataset {root}")
    return folder, tuple(found), [root / name for name in usual or found]


def _drawn(files: Paths, labels: np.ndarray, split: str, test_share: float) -> list[int]:
    """Rows of a split drawn from class folders."""
    check_test_share(test_share)
    if labels.max() < 0:
        raise ValueError("dataset.test_share needs class folders: a test split is drawn from each class")
    patients = dicom_groups(files) if is_dicom(files[0]) else None
    units = patients or [files.name(row) for row in range(len(files))]
    tested = drawn_for_test(units, [(str(label),) for label in labels], test_share)
    return [row for row, unit in enumerate(units) if (unit in tested) == (split == "test")]


def _top_folders(listing: Listing) -> list[str]:
    """Class folder of each folder with images; empty for the root."""
    return [name.partition(os.sep)[0] for name in listing.folders]


def _classes(folder: Path, listing: Listing, sources: list[Path]) -> list[str]:
    """Sorted names of the class folders with images in ``sources``, then of additional ones in ``folder``."""
    own = set(_top_folders(listing)) - {""}
    defined = own.copy() if folder in sources else set()
    empty: set[str] = set()
    for source in sources:
        for name in _sub_folders(source):
            if name not in defined:
                (defined if holds_images(source / name) else empty).add(name)
    if empty - defined:
        _log_empty(folder, tuple(sorted(empty - defined)))
    return [*sorted(defined), *sorted(own - defined)]


@cache
def _log_empty(folder: Path, names: tuple[str, ...]) -> None:
    """Log once the class folders without images."""
    listed = ", ".join(map(repr, names))
    print_log(f"'{folder}': class folders without images are ignored: {listed}", logger="current")


def _labels(folder: Path, listing: Listing, classes: list[str]) -> np.ndarray:
    numbers = {"": -1} | {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for name in _top_folders(listing)])
    if -1 in labels and labels.max() >= 0:
        raise damaged_file(folder, "holds images both in class folders and beside them; move them apart")
    return labels.repeat(listing.counts)
