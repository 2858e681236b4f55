"""Data sets in COCO's format."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.files import shown
from ssl_ext.json_files import read_json
from ssl_ext.registry import DATASETS

from .annotations import Annotation, Box
from .dataset import DetectionDataset

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass
class Coco:
    """Fields read from an annotation file; entries are checked separately."""

    images: list
    annotations: list
    categories: list


@DATASETS.register_module()
class CocoDetection(DetectionDataset):
    """Images with boxes from a JSON file in COCO's format; crowds (``iscrowd``) are marked difficult.

    ``bbox`` is x, y, width, height in pixels with edges from 0. ``image_id`` is taken from the file.

    Args:
        data_root: folder to which the two other paths are relative.
        annotation_file: the JSON file.
        image_folder: folder of the images.
        classes: names; by default all categories of the file, sorted by id.
        options: ``keep_difficult``, ``keep_empty``, ``ignore_other_classes`` and ``repair_boxes`` of
            :class:`DetectionDataset`.

    Raises:
        FileNotFoundError: the file or an image is missing.
        ValueError: the file is damaged, has unresolved ids, lacks a class of ``classes``, or an error of
            :class:`DetectionDataset`.
    """

    def __init__(
        self,
        data_root: str | os.PathLike,
        annotation_file: str,
        image_folder: str = "",
        *,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        path = Path(data_root).expanduser() / annotation_file
        if not path.is_file():
            by_hand = "give it relative to data_root (config key: dataset.annotation_file)"
            raise missing_file(path, "CocoDetection", by_hand, can_download=False)
        content = vars(read_json(path, Coco, "a file in COCO's format"))
        names = _entries(path, content, "categories", lambda entry: str(entry["name"]))
        if classes is None:
            classes = [names[number] for number in sorted(names)]
        elif unknown := sorted(set(classes) - set(names.values())):
            raise damaged_file(
                path,
                f"has no category {', '.join(map(repr, unknown))}; it has {', '.join(names.values())} "
                "(config key: dataset.classes)",
            )
        annotations = _annotations(path, content, names, Path(data_root).expanduser() / image_folder)
        super().__init__(annotations, classes, **options)


def _entries(path: Path, content: dict[str, list], key: str, read: Any) -> dict[int, Any]:
    """Return {id: entry} of a list; raise a ValueError if ids are missing or not unique."""
    found: dict[int, Any] = {}
    for place, entry in enumerate(content[key]):
        try:
            number, value = entry["id"], read(entry)
            if type(number) is not int or number in found:
                raise ValueError(f"id {number!r} is not an integer or occurs twice")
        except UNREADABLE as error:
            raise damaged_file(path, f"{key}[{place}] cannot be read: {_words(error)}") from error
        found[number] = value
    return found


def _annotations(path: Path, content: dict, names: dict[int, str], folder: Path) -> list[Annotation]:
    images = _entries(path, content, "images", _image)
    boxes: dict[int, list[Box]] = {number: [] for number in images}
    for place, entry in enumerate(content["annotations"]):
        try:
            if entry["image_id"] not in images or entry["category_id"] not in names:
                ids = f"image_id {entry['image_id']!r} or category_id {entry['category_id']!r}"
                raise ValueError(f"{ids} is not in the file")
            x, y, width, height = map(float, entry["bbox"])
            if not all(map(math.isfinite, (x, y, width, height))):
                raise ValueError(f"bbox {entry['bbox']} is not finite")
        except UNREADABLE as error:
            raise damaged_file(path, f"annotations[{place}] cannot be read: {_words(error)}") from error
        name, crowd = names[entry["category_id"]], bool(entry.get("iscrowd", 0))
        box = Box(name, (x, y, x + width, y + height), crowd, (x, y, width, height))
        boxes[entry["image_id"]].append(box)
    where = shown(os.path.abspath(path))
    return [
        Annotation(f"{where}, image {name!r}", folder / name, number, size, boxes[number])
        for number, (name, size) in images.items()
    ]


def _image(entry: dict) -> tuple[str, tuple[int, int] | None]:
    """Return the file name and (H, W), or None for the size if it is missing."""
    known, name = entry.get("height") and entry.get("width"), entry["file_name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name {str(name)[:40]!r} is not a file name")
    return name, (int(entry["height"]), int(entry["width"])) if known else None


def _words(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
