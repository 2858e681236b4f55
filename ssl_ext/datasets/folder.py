"""A folder of image files."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ssl_ext.datasets.decode import image_folder, image_names, walk_images
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file
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
    and decodes none.

    Args:
        split: sub-folder of ``data_root``; None or ``'train'`` for a folder without splits.
        data_root: the folder.
        test_share: fraction of each class that is the split ``'test'`` of a folder without splits, in (0, 1);
            see :func:`.drawn_for_test`. None: all images are ``'train'``.
        download: must be False.
        **kwargs: ``image_size``, ``crop``, ``scale``, ``channels``: see FileDataset.

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
        root = image_folder(data_root, "FolderDataset")
        folder, available, sources = _layout(root, split, drawn=test_share is not None)
        names = image_names(folder)
        classes = _classes(folder, names, sources)
        if folder == root and test_share is not None:
            names = _drawn(names, split or "train", test_share)
        self.set_files(
            [os.path.join(folder, name) for name in names],
            _labels(folder, names, classes),
            classes=classes,
            split=split or "train",
            available_splits=available,
        )


def _sub_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if os.path.isdir(e.path) and not e.name.startswith("."))


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


def _drawn(names: list[str], split: str, test_share: float) -> list[str]:
    """Images of a split drawn from class folders."""
    check_test_share(test_share)
    labels = [name.rpartition(os.sep)[0].partition(os.sep)[0] for name in names]
    if not any(labels):
        raise ValueError("dataset.test_share needs class folders: a test split is drawn from each class")
    tested = drawn_for_test(names, labels, test_share)
    return [name for name in names if (name in tested) == (split == "test")]


def _classes(folder: Path, names: list[str], sources: list[Path]) -> list[str]:
    """Sorted names of the class folders with images in ``sources``, then of additional ones in ``folder``."""
    own = {name.partition(os.sep)[0] for name in names if os.sep in name}
    defined = own.copy() if folder in sources else set()
    empty: set[str] = set()
    for source in sources:
        for name in _sub_folders(source):
            if name not in defined:
                (empty if next(walk_images(source / name), None) is None else defined).add(name)
    if empty - defined:
        _log_empty(folder, tuple(sorted(empty - defined)))
    return [*sorted(defined), *sorted(own - defined)]


@cache
def _log_empty(folder: Path, names: tuple[str, ...]) -> None:
    """Log once the class folders without images."""
    listed = ", ".join(map(repr, names))
    print_log(f"'{folder}': class folders without images are ignored: {listed}", logger="current")


def _labels(folder: Path, names: list[str], classes: list[str]) -> list[int]:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers[top] if rest else -1 for top, _, rest in (name.partition(os.sep) for name in names)]
    if -1 in labels and max(labels) >= 0:
        raise damaged_file(folder, "holds images both in class folders and beside them; move them apart")
    return labels
