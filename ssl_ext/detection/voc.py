"""PASCAL VOC and data sets in its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_ext.datasets.decode import EXTENSIONS
from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.files import shown
from ssl_ext.registry import DATASETS

from .annotations import Annotation
from .dataset import DetectionDataset
from .voc_xml import read_voc_xml

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
Splits = str | Sequence[str | tuple[str, str]] | None
LAYOUT = (
    "give a folder with VOC2007, VOC2012 …, or, if splits are plain names, a folder with "
    "Annotations, JPEGImages and ImageSets/Main (config keys: dataset.data_root, dataset.splits)"
)
ANNOTATIONS, IMAGES = "Annotations", ("JPEGImages", "images")


@DATASETS.register_module()
class VOCDetection(DetectionDataset):
    """Images with boxes from PASCAL VOC or a folder in its format.

    Layouts: ``data_root/VOC2007`` or ``data_root/VOCdevkit/VOC2007`` for splits with a year;
    ``data_root`` with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main`` for splits that are plain
    names; without splits, all ``.xml`` files of ``data_root/Annotations`` or of ``data_root``. Images are
    in ``JPEGImages`` or ``images`` or next to the ``.xml`` files, with the same name or that of
    ``<filename>``. Names of these folders are case-insensitive. For
    corners see :func:`read_voc_xml`; boxes one pixel wide or high are treated as annotation errors
    without area. ``image_id`` is the row.

    Args:
        data_root: the folder.
        splits: ``(year, name)`` pairs such as ``[('2007', 'trainval'), ('2012', 'trainval')]``,
            joined in this order; or names; None for all files.
        classes: names; the 20 of PASCAL VOC by default.
        options: ``keep_difficult``, ``keep_empty``, ``ignore_other_classes`` and ``repair_boxes`` of
            :class:`DetectionDataset`.

    Raises:
        FileNotFoundError: no such folder, split, annotation or image.
        ValueError: an image occurs twice, or an error of :class:`DetectionDataset`.
    """

    def __init__(
        self,
        data_root: str | os.PathLike,
        splits: Splits = None,
        *,
        classes: Sequence[str] = VOC_CLASSES,
        **options: Any,
    ) -> None:
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise missing_file(root, "VOCDetection", LAYOUT, can_download=False)
        if splits is None or isinstance(splits, str):
            splits = [splits] if splits else [""]
        annotations: list[Annotation] = []
        for split in splits:
            annotations += _read(*_locate(root, split), start=len(annotations))
        image, times = Counter(item.image for item in annotations).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{image} occurs {times} times in the splits (config key: dataset.splits)")
        super().__init__(annotations, classes, min_side=1.0, **options)


def _locate(root: Path, split: str | Sequence[str]) -> tuple[Path, list[Path]]:
    """Return the folder of a split and its annotation files."""
    if isinstance(split, str):
        folder, name = root, split
    elif len(split) == 2:
        year, name = map(str, split)
        folder = root / f"VOC{year}"
        if not folder.is_dir():
            folder = root / "VOCdevkit" / f"VOC{year}"
        if not folder.is_dir():
            raise missing_file(root / f"VOC{year}", "VOCDetection", LAYOUT, can_download=False)
    else:
        raise ValueError(f"dataset.splits must hold names or (year, name) pairs, got {split!r}")
    xml = _inside(folder, ANNOTATIONS) or folder
    if not name:
        files = sorted(path for path in xml.iterdir() if path.suffix.lower() == ".xml")
        if not files:
            raise damaged_file(xml, f"has no .xml files: {LAYOUT}")
        return folder, files
    sets = _inside(folder, "ImageSets") or folder / "ImageSets"
    lists = _inside(sets, "Main") or sets / "Main"
    if not (lists / f"{name}.txt").is_file():
        # Names with an underscore are VOC's per-class lists.
        there = sorted(path.stem for path in lists.glob("*.txt") if "_" not in path.stem)
        by_hand = f"splits there: {', '.join(there) or 'none'}; without dataset.splits all .xml are used"
        raise missing_file(lists / f"{name}.txt", "VOCDetection", by_hand, can_download=False)
    lines = (lists / f"{name}.txt").read_text("utf-8", "surrogateescape").splitlines()
    files = [xml / f"{line.split()[0]}.xml" for line in lines if line.strip()]
    if not files:
        raise damaged_file(lists / f"{name}.txt", "lists no images")
    return folder, files


def _inside(folder: Path, *names: str) -> Path | None:
    """First sub-folder with one of the names; an exact match is preferred to a case-insensitive one."""
    there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for name in names:
        for found in (*(n for n in there if n == name), *(n for n in there if n.lower() == name.lower())):
            return folder / found
    return None


def _images(folder: Path, files: Sequence[Path]) -> Path:
    """Folder of the images: the first that has an annotated image, or else the first."""
    beside = files[0].parent
    inside = [_inside(folder, name) for name in IMAGES]
    # A folder of annotations that was given itself.
    inside += [_inside(folder.parent, name) for name in IMAGES if folder.name.lower() == ANNOTATIONS.lower()]
    places = [*filter(None, inside), beside]
    stems = {path.stem for path in files}
    return next((place for place in places if stems & {Path(n).stem for n in _image_names(place)}), places[0])


def _image_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(EXTENSIONS))


def _read(folder: Path, files: Sequence[Path], *, start: int) -> list[Annotation]:
    images = _images(folder, files)
    names = _image_names(images)
    known = set(names)
    by_stem = {os.path.splitext(name)[0]: name for name in reversed(names)}
    annotations = []
    for row, path in enumerate(files, start):
        if not path.is_file():
            by_hand = "the split lists it: add the file, or remove its line from the split"
            raise missing_file(path, "VOCDetection", by_hand, can_download=False)
        listed, size, boxes = read_voc_xml(path)
        name = by_stem.get(path.stem) or (listed if listed in known else f"{path.stem}.jpg")
        annotations.append(Annotation(shown(os.path.abspath(path)), images / name, row, size, boxes))
    return annotations
