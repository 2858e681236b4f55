"""A user's image files, decoded once into memory, with labels from a CSV file."""

import csv
import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.decode import check_image_options, read_image
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
from ssl_ext.datasets.groups import OPTION, warn_of_unused_groups
from ssl_ext.datasets.listing import image_folder, image_names
from ssl_ext.datasets.paths import Paths
from ssl_ext.registry import DATASETS

SPLITS = ("train", "val", "test")
NAMED = 5  # damaged files listed in a warning
NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d+)?")
# Missing labels as written by pandas, R and other data sets of this package.
MISSING = ("na", "n/a", "nan", "none", "null", "<na>", "-1", "-1.0")


class Entry(NamedTuple):
    """A line of the CSV file; an empty label means unlabelled, an empty split or group not specified."""

    file: str
    label: str
    split: str
    group: str = ""

    @property
    def unit(self) -> str:
        """Group of the file, or the file itself without groups."""
        return self.group or self.file


@DATASETS.register_module()
class ImageFiles(ArrayDataset):
    """Image files of a folder, decoded into memory: for up to some ten thousand small images.

    Reads every format of :class:`ssl_ext.datasets.FolderDataset`, including 16-bit grey. The shorter side
    is resized to ``image_size`` and the centre cropped. Files that cannot be decoded are skipped; one
    warning lists them.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``; without ``labels_file`` all images are ``'train'``.
        data_root: the folder, searched recursively.
        image_size: height and width of the images, in pixels.
        labels_file: CSV file with a header and the columns ``file`` (path relative to ``data_root``),
            ``label`` (a name or a number; empty: unlabelled) and, optionally, ``split`` and ``group`` (the
            patient, lesion or slide). The labels that occur are the classes, numbers in increasing
            order. None: all images of the folder, unlabelled.
        group: name of the column of groups; None: ``group``, if there is one.
        test_share: fraction of each class used as ``'test'`` if there is no column ``split``, in (0, 1).
            The files, or the groups, are ordered by a hash of their names, so the choice does not depend
            on their order. A group is never split, and counts for its least frequent class.
        channels: 3 for RGB, 1 for grey.
        task: see ArrayDataset.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no such folder, CSV file or image.
        ValueError: malformed CSV file, unknown split, option out of range, or no readable image.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/images",
        *,
        image_size: int,
        labels_file: str | None = None,
        group: str | None = None,
        test_share: float = 0.3,
        channels: int = 3,
        task: str = "multi-class",
        device: str | torch.device | None = None,
    ) -> None:
        check_image_options(channels, image_size)
        root, entries, classes, available = read_entries(data_root, labels_file, group, test_share)
        split = check_split(split or "train", available, f"ImageFiles {labels_file or root}")
        images, kept = _decode(root, [e for e in entries if e.split == split], image_size, channels)
        super().__init__(
            images,
            np.array([classes.index(e.label) if e.label else -1 for e in kept], np.int64),
            classes=classes or None,
            task=task,
            device=device,
            available_splits=available,
            split=split,
            groups=[entry.group for entry in kept] if entries[0].group else None,
        )
        self.files = Paths.of(entry.file for entry in kept)


def read_entries(
    data_root: str | Path, labels_file: str | None = None, group: str | None = None, test_share: float = 0.3
) -> tuple[Path, list[Entry], list[str], tuple[str, ...]]:
    """Return folder, files of all splits, class names and splits; see ImageFiles for arguments and errors."""
    if not 0 < test_share < 1:
        raise ValueError(f"dataset.test_share must lie between 0 and 1, got {test_share}")
    root = image_folder(data_root, "ImageFiles")
    if labels_file is None:
        entries = [Entry(name, "", "train") for name in sorted(image_names(root))]
    else:
        entries = _split(_read_csv(Path(labels_file).expanduser(), group), test_share)
    available = tuple(part for part in SPLITS if any(entry.split == part for entry in entries))
    return root, entries, _classes(entries, labels_file), available


def _read_csv(path: Path, group: str | None) -> list[Entry]:
    if not path.is_file():
        by_hand = "give a CSV file with the columns file and label (config key: dataset.labels_file)"
        raise missing_file(path, "ImageFiles", by_hand, can_download=False)
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, skipinitialspace=True)
            header = lines.fieldnames or ()
            if lacking := [name for name in ("file", "label") if name not in header]:
                raise damaged_file(
                    path, f"no column {lacking[0]!r} in its first line, only {', '.join(header) or 'nothing'}"
                )
            if group is not None and group not in header:
                raise damaged_file(path, f"no column {group!r}, only {', '.join(header)} ({OPTION})")
            keys = (*Entry._fields[:-1], group or "group")
            entries = [Entry(*((line.get(key) or "").strip() for key in keys)) for line in lines]
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged_file(path, f"is not a CSV file in UTF-8: {error}") from error
    if not entries:
        raise damaged_file(path, "lists no files")
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=2):
        if entry.split and entry.split not in SPLITS:
            raise damaged_file(path, f"line {number}: split {entry.split!r} is none of {', '.join(SPLITS)}")
        if not entry.file or entry.file in seen:
            raise damaged_file(path, f"line {number}: file {entry.file!r} is empty or listed twice")
        seen.add(entry.file)
    for name in ("split", "group"):
        if len({bool(getattr(entry, name)) for entry in entries}) > 1:
            raise damaged_file(path, f"names a {name} for some files only: name it for all or leave it out")
    if not entries[0].group:
        warn_of_unused_groups(path, header)
    return entries


def _split(entries: Sequence[Entry], test_share: float) -> list[Entry]:
    """Return the entries with their given split, or else split each class into ``test`` and ``train``."""
    if all(entry.split for entry in entries):
        return list(entries)
    sizes = Counter(entry.label for entry in entries if entry.label)
    # A unit is a group or a file; its class is the least frequent one of its labelled images.
    units: dict[str, str] = {}
    for entry in sorted((e for e in entries if e.label), key=lambda e: (sizes[e.label], e.label)):
        units.setdefault(entry.unit, entry.label)
    classes: dict[str, list[str]] = {}
    for unit in sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest()):
        classes.setdefault(units[unit], []).append(unit)
    shares = [members[: max(1, round(test_share * len(members)))] for members in classes.values()]
    tested = set(chain(*shares))
    return [entry._replace(split="test" if entry.unit in tested else "train") for entry in entries]


def _classes(entries: Sequence[Entry], labels_file: str | None) -> list[str]:
    """Return the labels that occur: numbers by value, then names.

    Raises:
        ValueError: a label that marks a missing value, or one number written in two ways.
    """
    found = sorted({entry.label for entry in entries} - {""}, key=_natural)
    if missing := [label for label in found if label.lower() in MISSING]:
        raise damaged_file(
            str(labels_file),
            f"label {missing[0]!r} marks a missing value: leave the field empty for an unlabelled image, "
            "or give the class another name",
        )
    for one, other in pairwise(found):
        if _natural(one)[0] == _natural(other)[0] != math.inf:
            raise damaged_file(
                str(labels_file), f"labels {one!r} and {other!r} are the same number: use one spelling"
            )
    return found


def _natural(label: str) -> tuple[float, str]:
    """Sort key: numbers by value, then names."""
    return (float(label) if NUMBER.fullmatch(label) else math.inf), label


def read_square(path: Path, size: int, channels: int) -> torch.Tensor:
    """Decode a file, resize its shorter side and crop the centre: uint8 (channels, size, size).

    Raises:
        FileNotFoundError: no such file.
        ValueError: see :func:`ssl_ext.datasets.decode.read_image`.
    """
    image = resize(read_image(path, channels), size, InterpolationMode.BICUBIC)
    return pil_to_tensor(center_crop(image, [size, size]))


def _decode(
    root: Path, entries: Sequence[Entry], size: int, channels: int
) -> tuple[torch.Tensor, list[Entry]]:
    """Return images (N, channels, size, size) uint8 and their entries."""
    images = torch.empty((len(entries), channels, size, size), dtype=torch.uint8)
    kept: list[Entry] = []
    damaged: list[str] = []
    for entry in entries:
        try:
            image = read_square(root / entry.file, size, channels)
        except FileNotFoundError as error:
            by_hand = "the CSV file lists it, with a path below data_root"
            raise missing_file(root / entry.file, "ImageFiles", by_hand, can_download=False) from error
        except ValueError as error:
            damaged.append(str(error))
            continue
        images[len(kept)] = image
        kept.append(entry)
    if not kept:
        raise damaged_file(root, f"holds no readable image; the first is {damaged[0]}")
    if damaged:
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        print_log(
            f"{len(damaged)} of {len(entries)} files are skipped: {'; '.join(damaged[:NAMED])}{more}",
            logger="current",
            level=logging.WARNING,
        )
    return images[: len(kept)], kept
