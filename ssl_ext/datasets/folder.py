"""A folder of image files."""

import os
from pathlib import Path
from typing import Any

from ssl_ext.datasets.decode import image_folder, image_names
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file
from ssl_ext.registry import DATASETS

USUAL_SPLITS = ("train", "val", "test")


@DATASETS.register_module()
class FolderDataset(FileDataset):
    """Image files, decoded by the loader's workers and cut to one size.

    Layouts: ``data_root/split/class/…`` or ``data_root/class/…`` (one split, ``'train'``). Images
    outside class folders have the label −1. Class folders are searched recursively. Labels index
    the sorted class names of all splits. The constructor lists the files and decodes none.

    Args:
        split: sub-folder of ``data_root``; None or ``'train'`` for a folder without splits.
        data_root: the folder.
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
        download: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if download:
            raise ValueError(f"dataset.download=True: {data_root} is a local folder and cannot be downloaded")
        root = image_folder(data_root, "FolderDataset")
        folder, available, classes = _layout(root, split)
        files, labels = _list_files(folder, classes)
        self.set_files(files, labels, classes=classes, split=split or "train", available_splits=available)


def _sub_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if os.path.isdir(e.path) and not e.name.startswith("."))


def _layout(root: Path, split: str | None) -> tuple[Path, tuple[str, ...], list[str]]:
    """Return the folder of the split, the names of all splits and of all classes."""
    found = _sub_folders(root)
    if split not in found and not set(found) & set(USUAL_SPLITS):
        check_split(split or "train", ("train",), f"FolderDataset {root} (no split sub-folders)")
        return root, ("train",), found
    folder = root / check_split(split, tuple(found), f"FolderDataset {root}")
    return folder, tuple(found), sorted({c for s in found for c in _sub_folders(root / s)})


def _list_files(folder: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    names = image_names(folder)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers[top] if rest else -1 for top, _, rest in (name.partition(os.sep) for name in names)]
    if -1 in labels and max(labels) >= 0:
        raise damaged_file(folder, "holds images both in class folders and beside them; move them apart")
    return [os.path.join(folder, name) for name in names], labels
