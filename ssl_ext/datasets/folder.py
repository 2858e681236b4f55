"""A folder of image files."""

import os
from pathlib import Path
from typing import Any

from ssl_ext.datasets.decode import EXTENSIONS
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
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
        root = Path(data_root).expanduser()
        if download:
            raise ValueError(f"dataset.download=True: {root} is a local folder and cannot be downloaded")
        if not root.is_dir():
            by_hand = "give the folder of the images as data_root (config key: dataset.data_root)"
            raise missing_file(root, "FolderDataset", by_hand, can_download=False)
        folder, available, classes = _layout(root, split)
        files, labels = _list_files(folder, classes)
        self.set_files(files, labels, classes=classes, split=split or "train", available_splits=available)


def _sub_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def _layout(root: Path, split: str | None) -> tuple[Path, tuple[str, ...], list[str]]:
    """Return the folder of the split, the names of all splits and of all classes."""
    found = _sub_folders(root)
    if split not in found and not set(found) & set(USUAL_SPLITS):
        check_split(split or "train", ("train",), f"FolderDataset {root} (no split sub-folders)")
        return root, ("train",), found
    folder = root / check_split(split, tuple(found), f"FolderDataset {root}")
    return folder, tuple(found), sorted({c for s in found for c in _sub_folders(root / s)})


def _list_files(folder: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    files: list[str] = []
    labels: list[int] = []
    for current, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = sorted(name for name in names if name.lower().endswith(EXTENSIONS))
        inside = Path(current).relative_to(folder).parts
        label = classes.index(inside[0]) if inside else -1
        files += [os.path.join(current, name) for name in images if not name.startswith(".")]
        labels += [label] * (len(files) - len(labels))
    if not files:
        raise damaged_file(folder, f"holds no images ({', '.join(EXTENSIONS)})")
    if -1 in labels and max(labels) >= 0:
        raise damaged_file(folder, "holds images both in class folders and beside them; move them apart")
    return files, labels
