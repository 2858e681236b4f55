"""Where a data set in PASCAL VOC's format keeps its annotations, images and splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mmengine.logging import print_log

from ssl_ext.datasets.decode import EXTENSIONS
from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.datasets.test_share import hash_of_name

Split = str | Sequence[str]
LAYOUT = (
    "give a folder with VOC2007, VOC2012 …, or, if splits are plain names, a folder with "
    "Annotations, JPEGImages and, if there are splits, ImageSets/Main or a folder for each split "
    "(config keys: dataset.data_root, dataset.splits)"
)
ANNOTATIONS, IMAGES = "Annotations", ("JPEGImages", "images")
# Names of splits that are drawn if the folder has none, and whether they are the test images.
DRAWN = {"train": False, "trainval": False, "test": True}
ALIASES = {"val": ("val", "valid", "validation"), "trainval": ("trainval", "train")}


def locate(
    root: Path, split: Split, *, test_share: float, group: str | None
) -> tuple[Path, list[Path], list[Path]]:
    """Return the folder of a split, its annotation files, and all annotation files of a foreign data set.

    Raises:
        FileNotFoundError: no such folder or split.
        ValueError: no annotation files, an empty list, or a name that ``group`` does not match.
    """
    folder, name = (root, split) if isinstance(split, str) else _year(root, split)
    if name and (own := _split_folder(folder, name)):
        every = [path for place in _sub_folders(folder) for path in _xml_files(_annotations(place))]
        return own, _some(_annotations(own)), every
    xml = _annotations(folder)
    if not name:
        files = _some(xml)
        return folder, files, files
    sets = inside(folder, "ImageSets") or folder / "ImageSets"
    lists = inside(sets, "Main") or sets / "Main"
    if not sets.is_dir() and name in DRAWN:
        files = _some(xml)
        return folder, _draw(files, test=DRAWN[name], share=test_share, group=group), files
    if not (lists / f"{name}.txt").is_file():
        # Names with an underscore are VOC's per-class lists.
        there = sorted(path.stem for path in lists.glob("*.txt") if "_" not in path.stem)
        by_hand = f"splits there: {', '.join(there) or 'none'}; without dataset.splits all .xml are used"
        raise missing_file(lists / f"{name}.txt", "VOCDetection", by_hand, can_download=False)
    lines = (lists / f"{name}.txt").read_text("utf-8", "surrogateescape").splitlines()
    files = [xml / f"{line.split()[0]}.xml" for line in lines if line.strip()]
    if not files:
        raise damaged_file(lists / f"{name}.txt", "lists no images")
    return folder, files, _xml_files(xml) if isinstance(split, str) else []


def group_of(path: Path, pattern: str) -> str:
    r"""Group of an annotation file: the part of its name that the regular expression ``pattern`` finds.

    The first parenthesised part, or the whole match.

    Raises:
        ValueError: nothing is found.

    >>> group_of(Path("slide3_017.xml"), r"slide\d+"), group_of(Path("p1-2.xml"), r"p(\d+)-")
    ('slide3', '1')
    """
    found = re.search(pattern, path.stem)
    if not found:
        raise damaged_file(path, f"its name does not match {pattern!r} (config key: dataset.group)")
    return found[1] if found.re.groups else found[0]


def inside(folder: Path, *names: str) -> Path | None:
    """First sub-folder with one of the names; an exact match is preferred to a case-insensitive one."""
    there = [path.name for path in _sub_folders(folder)] if folder.is_dir() else []
    for name in names:
        for found in (*(n for n in there if n == name), *(n for n in there if n.lower() == name.lower())):
            return folder / found
    return None


def images_folder(folder: Path, files: Sequence[Path]) -> Path:
    """Folder of the images: the first that has an annotated image, or else the first."""
    beside = files[0].parent
    found = [inside(folder, name) for name in IMAGES]
    # A folder of annotations that was given itself.
    found += [inside(folder.parent, name) for name in IMAGES if folder.name.lower() == ANNOTATIONS.lower()]
    places = [*filter(None, found), beside]
    stems = {path.stem for path in files}
    return next((place for place in places if stems & {Path(n).stem for n in image_names(place)}), places[0])


def image_names(folder: Path) -> list[str]:
    """Sorted names of the image files in a folder."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(EXTENSIONS))


def _year(root: Path, split: Sequence[str]) -> tuple[Path, str]:
    if len(split) != 2:
        raise ValueError(f"dataset.splits must hold names or (year, name) pairs, got {split!r}")
    year, name = map(str, split)
    folders = [root / f"VOC{year}", root / "VOCdevkit" / f"VOC{year}"]
    folder = next((place for place in folders if place.is_dir()), None)
    if folder is None:
        raise missing_file(folders[0], "VOCDetection", LAYOUT, can_download=False)
    return folder, name


def _split_folder(root: Path, name: str) -> Path | None:
    """Folder of a split that has one of its own, with annotations."""
    found = inside(root, *ALIASES.get(name, (name,)))
    return found if found and _xml_files(_annotations(found)) else None


def _annotations(folder: Path) -> Path:
    return inside(folder, ANNOTATIONS) or folder


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _xml_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xml")


def _some(folder: Path) -> list[Path]:
    files = _xml_files(folder)
    if not files:
        raise damaged_file(folder, f"has no .xml files: {LAYOUT}")
    return files


def _draw(files: Sequence[Path], *, test: bool, share: float, group: str | None) -> list[Path]:
    """Files of the drawn training or test split: whole groups, in the order of a hash of their names."""
    units = {path: group_of(path, group) if group else path.stem for path in files}
    order = sorted(set(units.values()), key=hash_of_name)
    if len(order) < 2:
        raise damaged_file(files[0].parent, "has one image or group only, so no test split can be drawn")
    tested = set(order[: min(max(1, round(share * len(order))), len(order) - 1)])
    _say_drawn(files[0].parent, len(tested), len(order), "groups" if group else "images")
    return [path for path, unit in units.items() if (unit in tested) == test]


@cache
def _say_drawn(folder: Path, tested: int, units: int, kind: str) -> None:
    """Log once that the splits of a folder were drawn."""
    text = f"'{folder}' has no splits: {tested} of its {units} {kind} were drawn for test"
    print_log(text, logger="current")
