"""Annotations of images, and their validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_ext.files import shown

SLACK = 2.0  # tolerance in pixels beyond the border, for rounding and other coordinate conventions


@dataclass(frozen=True)
class Box:
    """One object: class name, corners x1, y1, x2, y2 in pixels (edges, from 0) and difficult flag.

    ``numbers`` are the four numbers of the file, for messages.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Annotation:
    """Annotation of one image; ``where`` locates it in messages, ``size`` is (H, W) or None if not given."""

    where: str
    image: Path
    image_id: int
    size: tuple[int, int] | None
    boxes: Sequence[Box]


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple.

    Raises:
        ValueError: no names, a duplicate name, or a string instead of a sequence.
    """
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"classes must be different names (config key: dataset.classes), got {classes!r}")
    return names


def check_names(annotations: Sequence[Annotation], classes: Sequence[str]) -> None:
    """Raise a ValueError that counts the objects of classes not in ``classes``, if there are any."""
    found = Counter(box.name for item in annotations for box in item.boxes if box.name not in classes)
    if not found:
        return
    item = next(item for item in annotations if any(box.name in found for box in item.boxes))
    name = next(box.name for box in item.boxes if box.name in found)
    counts = ", ".join(f"{other!r} ({count})" for other, count in sorted(found.items()))
    raise ValueError(
        f"{item.where}: class {name!r} is none of {', '.join(classes)}; objects of other classes: {counts} "
        "(config keys: dataset.classes, or dataset.ignore_other_classes=True to drop them)"
    )


def check_size(item: Annotation, size: tuple[int, int]) -> None:
    """Raise a ValueError if the annotated (H, W) differs from the image's."""
    if item.size not in (None, size):
        (annotated_h, annotated_w), (height, width) = item.size, size
        raise ValueError(
            f"{item.where}: is for an image of {annotated_w} × {annotated_h} pixels, but {shown(item.image)} "
            f"has {width} × {height} (upright, by its EXIF orientation); its boxes would be misplaced"
        )


def fit_boxes(
    boxes: np.ndarray, size: tuple[int, int], *, min_side: float = 0.0
) -> tuple[np.ndarray, list[str | None]]:
    """Clip boxes to the image and describe the fault of each.

    Args:
        boxes: (M, 4) corners x1, y1, x2, y2 in pixels.
        size: (H, W) of the image.
        min_side: boxes with a width or height up to this, in pixels, have no area.

    Returns:
        Clipped boxes (M, 4), and for each its fault in words or None. Boxes may exceed the border by up to
        two pixels.

    >>> fit_boxes(np.array([[-1.0, 0, 4, 4], [2, 2, 9, 9], [3, 1, 3, 2]]), (5, 5))[1]
    [None, 'exceeds the image of 5 × 5 pixels', 'has no area']
    """
    height, width = size
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    inside = boxes.clip(0, limits)
    over = np.abs(boxes - inside).max(axis=1, initial=0.0)
    sides = (inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf)
    faults: list[str | None] = []
    for reach, side in zip(over, sides, strict=True):
        if reach > SLACK:
            faults.append(f"exceeds the image of {width} × {height} pixels")
        else:
            faults.append("has no area" if side <= min_side else None)
    return inside, faults
