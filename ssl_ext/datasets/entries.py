"""Image files with labels, splits and groups: from a CSV file, or from class folders."""

import csv
import math
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.datasets.groups import OPTION, warn_of_unused_groups
from ssl_ext.datasets.listing import image_folder, image_names
from ssl_ext.datasets.test_share import check_test_share, drawn_for_test

SPLITS = ("train", "val", "test")
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


def read_entries(
    data_root: str | Path,
    labels_file: str | None = None,
    group: str | None = None,
    test_share: float = 0.3,
    class_folders: bool = False,
) -> tuple[Path, list[Entry], list[str], tuple[str, ...]]:
    """Return folder, files of all splits, class names and splits; see ImageFiles for arguments and errors."""
    check_test_share(test_share)
    if class_folders and labels_file:
        raise ValueError("dataset.class_folders=True and dataset.labels_file: give one source of labels")
    root = image_folder(data_root, "ImageFiles")
    if class_folders:
        entries = _split(_read_folders(root), test_share)
    elif labels_file is None:
        entries = [Entry(name, "", "train") for name in sorted(image_names(root))]
    else:
        entries = _split(_read_csv(Path(labels_file).expanduser(), group), test_share)
    available = tuple(part for part in SPLITS if any(entry.split == part for entry in entries))
    return root, entries, _classes(entries, labels_file or root), available


def _read_folders(root: Path) -> list[Entry]:
    """Images of the class folders of each split, or of ``root`` without folders of splits."""
    splits = [name for name in SPLITS if (root / name).is_dir()]
    entries = []
    for name in image_names(root):
        *folders, _ = name.split(os.sep)
        split = folders.pop(0) if splits and folders else ""
        if split in splits or not splits:
            entries.append(Entry(name, folders[0] if folders else "", split))
    if not any(entry.label for entry in entries):
        raise damaged_file(root, "has no class folders with images (config key: dataset.class_folders)")
    return entries


def _read_csv(path: Path, group: str | None) -> list[Entry]:
    if not path.is_file():
        by_hand = "give a CSV file with the columns file and label (config key: dataset.labels_file)"
        raise missing_file(path, "ImageFiles", by_hand, can_download=False)
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, skipinitialspace=True)
            header = lines.fieldnames or ()
            if len(header) == 1 and ";" in header[0]:
                raise damaged_file(path, "separates its columns by semicolons: save it with commas")
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
        place = os.path.normpath(entry.file)
        if not entry.file or place in seen:
            raise damaged_file(path, f"line {number}: file {entry.file!r} is empty or listed twice")
        seen.add(place)
    for name in ("split", "group"):
        if len({bool(getattr(entry, name)) for entry in entries}) > 1:
            raise damaged_file(path, f"names a {name} for some files only: name it for all or leave it out")
    if not entries[0].group:
        warn_of_unused_groups(path, header)
    return entries


def listed_files(path: str | Path) -> list[str]:
    """Return the files that a CSV file lists.

    Raises:
        ValueError: malformed CSV file.
    """
    return [entry.file for entry in _read_csv(Path(path), None)]


def _split(entries: Sequence[Entry], test_share: float) -> list[Entry]:
    """Return the entries with their given split, or else split each class into ``test`` and ``train``."""
    if all(entry.split for entry in entries):
        return list(entries)
    tested = drawn_for_test([e.unit for e in entries], [e.label for e in entries], test_share)
    return [entry._replace(split="test" if entry.unit in tested else "train") for entry in entries]


def _classes(entries: Sequence[Entry], source: str | Path) -> list[str]:
    """Return the labels that occur: numbers by value, then names.

    Raises:
        ValueError: a label that marks a missing value, or one number written in two ways.
    """
    found = sorted({entry.label for entry in entries} - {""}, key=_natural)
    if missing := [label for label in found if label.lower() in MISSING]:
        raise damaged_file(
            source,
            f"label {missing[0]!r} marks a missing value: leave the field empty for an unlabelled image, "
            "or give the class another name",
        )
    for one, other in pairwise(found):
        if _natural(one)[0] == _natural(other)[0] != math.inf:
            raise damaged_file(source, f"labels {one!r} and {other!r} are the same number: use one spelling")
    return found


def _natural(label: str) -> tuple[float, str]:
    """Sort key: numbers by value, then names."""
    return (float(label) if NUMBER.fullmatch(label) else math.inf), label
