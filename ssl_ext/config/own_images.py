"""A user's images: their form, number, size, classes and statistics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_ext.console import counted
from ssl_ext.datasets.contents import channel_statistics
from ssl_ext.datasets.decode import image_size
from ssl_ext.datasets.entries import SPLITS, UnknownGroups, read_entries
from ssl_ext.datasets.listing import image_names
from ssl_ext.datasets.table import common_folder, path_below, read_table
from ssl_ext.errors import UserError, user_errors
from ssl_ext.files import near_path, shown

from .data import build_dataset

# Images of which sides and statistics are computed.
SAMPLE = 200
IN_MEMORY = 0.25
"""Part of the machine's memory that images may fill; others are decoded on access."""
TEST_SHARE = 0.3
LABELLING = ("label", "group", "task", "test_share")
"""Options of a CSV file's labels; others are for all images."""


@dataclass(frozen=True)
class OwnImages:
    """A user's images.

    ``files`` is the config of the data set without split. ``labels`` are further settings with which it has
    labels and a test or val split (None: it has not), and ``training`` those of the training images.
    ``images`` counts the training images, ``image_size`` is their height and width in pixels, ``classes`` is
    0 unless every training image has one class. ``notes`` are sentences about the images.
    """

    path: Path
    files: dict[str, Any]
    labels: dict[str, Any] | None
    training: dict[str, Any]
    images: int
    classes: int
    image_size: tuple[int, int]
    mean: list[float]
    std: list[float]
    notes: list[str]

    @property
    def in_memory(self) -> bool:
        """True unless images are decoded on access."""
        return self.files["type"] != "FolderDataset"


def find_images(path: str | os.PathLike, largest: int, options: dict[str, Any] | None = None) -> OwnImages:
    """Examine a folder of images (with or without class folders), a ``.npz`` file, or a CSV file.

    Args:
        path: The folder or file.
        largest: Largest height and width of images that are resized.
        options: Settings of the data set, such as ``intensity``, ``crop``, ``label`` and ``task``.

    Raises:
        UserError: There is no such path, or the data set cannot be read; the message names its class.
    """
    place = Path(path).expanduser().absolute()
    if not place.exists():
        raise UserError(f"--data '{shown(place)}' does not exist{near_path(place) or '.'}")
    with user_errors(f"--data '{shown(place)}'"):
        if place.is_dir():
            return _folder(place, largest, options or {})
        if place.suffix.lower() == ".npz":
            return _npz(place, options or {})
        if place.suffix.lower() == ".csv":
            return _csv(place, largest, options or {})
        raise UserError("give a folder of images, a .npz file or a .csv file.")


def _described(
    path: Path,
    files: dict[str, Any],
    dataset: Any,
    notes: Sequence[str],
    labels: dict[str, Any] | None = None,
    whole: int | None = None,
    training: dict[str, Any] | None = None,
) -> OwnImages:
    """Describe a data set.

    Args:
        path: What the user gave.
        files: Config of the data set without split.
        dataset: Its training split, with labels if there are any.
        notes: Sentences about the images.
        labels: Further settings for labels.
        whole: Number of images, if training also uses images that are not listed, without labels.
        training: Further settings for training images.
    """
    known, notes = torch.as_tensor(dataset.labels) >= 0, list(notes)
    labelled = bool(known.any()) and dataset.num_classes >= 2
    if labelled:
        names = dataset.classes or [str(number) for number in range(dataset.num_classes)]
        kind = "labels" if dataset.task == "multi-label" else "classes"
        notes.append(f"{len(names)} {kind}: {_listed(names)}.")
        if dataset.groups is not None:
            notes.append(f"The labelled training images are of {counted(len(set(dataset.groups)), 'group')}.")
    held = [name for name in ("val", "test") if name in dataset.available_splits]
    tested = bool(held)
    if tested and (not whole or training):
        notes.append(f"Training leaves out the images of {' and '.join(held)}.")
    if not labelled:
        notes.append("No classes: features are measured without labels (--protocols quality).")
    elif not tested:
        notes.append("No test or val split: accuracies are not measured.")
    mean, std = channel_statistics(dataset, SAMPLE)
    height, width = dataset.metainfo["image_size"]
    return OwnImages(
        path,
        files,
        labels or {} if labelled and tested else None,
        training or {},
        len(dataset) if whole is None else whole,
        dataset.num_classes if labelled and known.ndim == 1 and bool(known.all()) and not whole else 0,
        (int(height), int(width)),
        [round(value, 4) for value in mean],
        [max(0.01, round(value, 4)) for value in std],
        notes,
    )


def _folder(root: Path, largest: int, options: dict[str, Any]) -> OwnImages:
    names = image_names(root)
    size, notes = _image_size([root / name for name in names], largest)
    splits = [name for name in SPLITS if (root / name).is_dir()]
    depth = 2 if splits else 1
    classes = sorted({name.split(os.sep)[depth - 1] for name in names if name.count(os.sep) >= depth})
    in_memory = len(names) * 3 * size**2 < IN_MEMORY * _memory()
    kind = "ImageFiles" if in_memory else "FolderDataset"
    files: dict[str, Any] = dict(type=kind, data_root=str(root), image_size=size) | options
    if len(classes) < 2:
        return _described(root, files, build_dataset("--data", dict(files, split="train")), notes)
    if not splits:
        share = files.setdefault("test_share", TEST_SHARE)
        notes.append(f"No folders train, val or test: {share:.0%} of each class are the test split.")
    # Lists the files, but decodes none.
    settings = {key: value for key, value in files.items() if key != "task"}
    dataset = build_dataset("--data", dict(settings, type="FolderDataset", split="train"))
    if in_memory:
        files["class_folders"] = True
    return _described(root, files, dataset, notes)


def _npz(path: Path, options: dict[str, Any]) -> OwnImages:
    files: dict[str, Any] = dict(type="NPZDataset", data_root=str(path)) | options
    dataset = build_dataset("--data", dict(files, split="train"))
    if dataset.metainfo["channels"] == 1:
        files["as_rgb"] = True
        dataset = build_dataset("--data", dict(files, split="train"))
    return _described(path, files, dataset, [])


def _csv(path: Path, largest: int, options: dict[str, Any]) -> OwnImages:
    header, lines = read_table(path, ["file"])
    listed = [line["file"] for line in lines]
    given = options.get("data_root")
    folders = (
        [Path(given)]
        if given
        else [folder for folder in (path.with_suffix(""), path.parent) if folder.is_dir()]
    )
    root = next((one for one in folders if (one / listed[0]).exists() and path_below(one, listed[0])), None)
    if root is None:
        where = " nor in ".join(f"'{shown(folder)}'" for folder in folders)
        common = common_folder(listed) or "FOLDER"
        raise UserError(
            f"its first file, '{shown(listed[0])}', is not in {where}: give the folder of all files with "
            f"--data-options data_root={shown(common)}."
        )
    names = image_names(root)
    size, notes = _image_size([root / name for name in listed], largest)
    while len(names) * 3 * size**2 > IN_MEMORY * _memory() and size > 32:
        size //= 2
    files: dict[str, Any] = dict(type="ImageFiles", data_root=str(root), image_size=size)
    files |= {key: value for key, value in options.items() if key not in LABELLING}
    labels = dict(labels_file=str(path)) | {key: options[key] for key in LABELLING if key in options}
    dataset = build_dataset("--data", dict(files, **labels, split="train"))
    if len(listed) >= len(names) / 2:
        if left := len(names) - len(listed):
            notes.append(f"{left} of {len(names)} images are not listed, and left out.")
        return _described(path, files | labels, dataset, notes)
    if "split" in header:
        training = labels | dict(unlisted=True)
        given = {key: value for key, value in training.items() if key != "test_share"}
        try:
            count = len(read_entries(root, **given).of("train"))
        except UnknownGroups:
            column = options.get("group", "group")
            notes.append(
                f"{len(listed)} of {len(names)} images are listed: the others are left out, because their "
                f"{column} is not known and may be one of the test images."
            )
            return _described(path, files | labels, dataset, notes)
        notes.append(f"{len(listed)} of {len(names)} images are listed: the others are used without labels.")
        return _described(path, files, dataset, notes, labels, count, training)
    held = " and ".join(name for name in ("val", "test") if name in dataset.available_splits)
    among = f", those of {held} among them" if held else ""
    notes.append(f"{len(listed)} of {len(names)} images are listed: all are used, without labels{among}.")
    return _described(path, files, dataset, notes, labels, len(names))


def _image_size(paths: Sequence[Path], largest: int) -> tuple[int, list[str]]:
    """Size for images of these files: the median of their shorter sides, at most ``largest``."""
    sides = []
    for row in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int):
        try:
            sides.append(min(image_size(paths[row])))
        except Exception:
            # Damaged files, on which decoders raise many types, are reported when they are read.
            continue
    if not sides:
        raise UserError("no image can be read.")
    median = int(np.median(sides))
    size = min(median, largest)
    size = size if size <= 32 else size // 16 * 16
    low, high = min(sides), max(sides)
    spread = f"{low} to {high} px (median {median})" if low < high else f"{median} px"
    return size, [f"Shorter sides have {spread}."]


def _memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
