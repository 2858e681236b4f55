"""Image files with labels, splits and groups: from a CSV file, or from class folders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ssl_ext.datasets.dicom import is_dicom, need_pydicom, patient_ids
from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.datasets.groups import OPTION, dicom_groups, warn_of_unused_groups
from ssl_ext.datasets.labels import KEY, Labels, class_names, parse_labels, warn_of_single
from ssl_ext.datasets.listing import image_folder, image_names
from ssl_ext.datasets.table import paths_below, read_table
from ssl_ext.datasets.test_share import check_test_share, drawn_for_test
from ssl_ext.files import shown

SPLITS = ("train", "val", "test")


class UnknownGroups(ValueError):
    """Unlisted images may be of groups of other splits."""


class Entry(NamedTuple):
    """An image file; an empty split or group is not specified."""

    file: str
    labels: Labels
    split: str
    group: str = ""

    @property
    def unit(self) -> str:
        """Group of the file, or the file itself without groups."""
        return self.group or self.file


@dataclass(frozen=True)
class Entries:
    """The files of all splits below a folder, their classes, the names of the splits, and the task."""

    root: Path
    all: list[Entry]
    classes: list[str]
    available: tuple[str, ...]
    task: str

    def of(self, split: str) -> list[Entry]:
        """Entries of a split."""
        return [entry for entry in self.all if entry.split == split]


def read_entries(
    data_root: str | Path,
    labels_file: str | None = None,
    *,
    label: str | Sequence[str] | None = None,
    group: str | None = None,
    test_share: float = 0.3,
    class_folders: bool = False,
    unlisted: bool = False,
    task: str | None = None,
) -> Entries:
    """Return the files of all splits; see ImageFiles for arguments and errors."""
    check_test_share(test_share)
    if class_folders and labels_file:
        raise ValueError("dataset.class_folders=True and dataset.labels_file: give one source of labels")
    if not labels_file and (label or group or unlisted):
        raise ValueError(
            "dataset.label, group and unlisted need a CSV file (config key: dataset.labels_file)"
        )
    root = image_folder(data_root, "ImageFiles")
    if class_folders:
        if task == "multi-label":
            raise ValueError(f"task='multi-label' needs a CSV file, an image is in one class folder ({KEY})")
        entries = _read_folders(root)
        classes = class_names([entry.labels for entry in entries], root)
    elif labels_file is None:
        entries = [Entry(name, None, "train") for name in sorted(image_names(root))]
        classes = []
    else:
        path = Path(labels_file).expanduser()
        entries, classes, task = _read_csv(path, root, label, group, task)
    entries = _grouped(root, entries, labels_file, unlisted)
    warn_of_single([entry.labels for entry in entries], labels_file or root)
    entries = _split(entries, test_share)
    if unlisted:
        entries += _unlisted(root, entries, group)
    available = tuple(part for part in SPLITS if any(entry.split == part for entry in entries))
    return Entries(root, entries, classes, available, task or "multi-class")


def _grouped(root: Path, entries: list[Entry], labels_file: str | None, unlisted: bool) -> list[Entry]:
    """Entries with the patients of DICOM files as groups, if no groups are given."""
    paths = [root / entry.file for entry in entries]
    if (first := next(filter(is_dicom, paths), None)) is not None:
        need_pydicom(first)
        if not entries[0].group:
            # Images without labels are not split.
            labelled = any(entry.labels is not None for entry in entries)
            if groups := dicom_groups(paths, root if unlisted else None, warn=labelled):
                return [entry._replace(group=group) for entry, group in zip(entries, groups, strict=True)]
    if labels_file and not entries[0].group:
        warn_of_unused_groups(Path(labels_file), read_table(Path(labels_file).expanduser())[0])
    return entries


def _unlisted(root: Path, entries: Sequence[Entry], group: str | None) -> list[Entry]:
    """Images that are not listed, for training, except those of groups of other splits.

    Raises:
        UnknownGroups: the listed images have groups other than PatientIDs, or an unlisted one has none.
    """
    real = lru_cache(os.path.realpath)

    def place(name: str) -> str:
        folder, file = os.path.split(root / name)
        path = os.path.join(real(folder), file)
        return os.path.realpath(path) if os.path.islink(path) else path

    known = {place(entry.file) for entry in entries}
    files = [name for name in sorted(image_names(root)) if place(name) not in known]
    if not entries[0].group:
        return [Entry(name, None, "train") for name in files]
    held = {entry.group for entry in entries if entry.split != "train"}
    groups = patient_ids([root / name for name in files])
    listed = patient_ids([root / entry.file for entry in entries])
    if not all(groups) or (files and listed != [entry.group for entry in entries]):
        name, column = files[groups.index("") if "" in groups else 0], group or "group"
        raise UnknownGroups(
            f"dataset.unlisted=True: the {column} of '{shown(name)}', which the CSV file does not list, is "
            f"not known and may be that of a test image: list all images with their {column} (and an empty "
            f"label; {OPTION}), or remove unlisted"
        )
    pairs = zip(files, groups, strict=True)
    return [Entry(name, None, "train", group) for name, group in pairs if group not in held]


def _read_folders(root: Path) -> list[Entry]:
    """Images of the class folders of each split, or of ``root`` without folders of splits."""
    splits = [name for name in SPLITS if (root / name).is_dir()]
    entries = []
    for name in image_names(root):
        *folders, _ = name.split(os.sep)
        split = folders.pop(0) if splits and folders else ""
        if split in splits or not splits:
            entries.append(Entry(name, (folders[0],) if folders else None, split))
    if not any(entry.labels for entry in entries):
        raise damaged_file(root, "has no class folders with images (config key: dataset.class_folders)")
    return entries


def _read_csv(
    path: Path, root: Path, label: str | Sequence[str] | None, group: str | None, task: str | None
) -> tuple[list[Entry], list[str], str]:
    if not path.is_file():
        by_hand = "give a CSV file with the columns file and label (config key: dataset.labels_file)"
        raise missing_file(path, "ImageFiles", by_hand, can_download=False)
    header, lines = read_table(path, ["file"])
    columns = [label or "label"] if label is None or isinstance(label, str) else list(label)
    if lacking := [name for name in columns if name not in header]:
        raise damaged_file(path, _no_label(header, lines, lacking[0]))
    if group is not None and group not in header:
        raise damaged_file(path, f"no column {group!r}, only {', '.join(header)} ({OPTION})")
    names = paths_below(path, root, lines, "config key: dataset.data_root")
    labels, classes, task = parse_labels(path, lines, columns, task)
    entries = [
        Entry(name, found, line.get("split", ""), line.get(group or "group", ""))
        for name, line, found in zip(names, lines, labels, strict=True)
    ]
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
    return entries, classes, task


def _no_label(header: Sequence[str], lines: Sequence[dict[str, str]], name: str) -> str:
    """Error for a missing column of labels; names the columns that hold only 0, 1 and -1."""
    findings = [
        column for column in header
        if column != "file" and {line[column] for line in lines} <= {"0", "1", "-1", "0.0", "1.0", "-1.0", ""}
    ]  # fmt: skip
    text = f"no column {name!r} in its first line, only {', '.join(header)}"
    choice = f"label={findings!r} for one column a finding, or " if findings else ""
    return f"{text}: set {choice}label='NAME' for a column of classes (config key: dataset.label)"


def _split(entries: Sequence[Entry], test_share: float) -> list[Entry]:
    """Return the entries with their given split, or else split each class into ``test`` and ``train``."""
    if all(entry.split for entry in entries):
        return list(entries)
    tested = drawn_for_test([e.unit for e in entries], [e.labels for e in entries], test_share)
    return [entry._replace(split="test" if entry.unit in tested else "train") for entry in entries]
