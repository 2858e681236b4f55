"""Annotations of images and their checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SLACK = 2.0  # pixels by which rounding and other conventions may carry a box over the border


@dataclass(frozen=True)
class Box:
    """One object: class name, corners x1, y1, x2, y2 in pixels (edges, from 0), whether it is difficult.

    ``told`` are the four numbers of the file, for messages.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    told: tuple[float, ...]


@dataclass(frozen=True)
class Annotation:
    """What a file says about an image; ``where`` goes into messages, ``size`` is (H, W) if it is told."""

    where: str
    image: Path
    image_id: int
    size: tuple[int, int] | None
    boxes: Sequence[Box]


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names as a tuple.

    Raises:
        ValueError: none, a name that comes twice, or one string instead of several.
    """
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"classes must be different names (config key: dataset.classes), got {classes!r}")
    return names


def check_names(annotations: Sequence[Annotation], classes: Sequence[str]) -> None:
    """Raise a ValueError if an object is of another class; it tells all such classes and their counts."""
    found = Counter(box.name for item in annotations for box in item.boxes if box.name not in classes)
    if not found:
        return
    item = next(item for item in annotations if any(box.name in found for box in item.boxes))
    name = next(box.name for box in item.boxes if box.name in found)
    counts = ", ".join(f"{other!r} ({count})" for other, count in sorted(found.items()))
    raise ValueError(
        f"{item.where}: class {name!r} is none of {', '.join(classes)}; objects of other classes: {counts} "
        "(config keys: dataset.classes, or dataset.ignore_other_classes=True to leave them out)"
    )


def check_size(item: Annotation, size: tuple[int, int]) -> None:
    """Raise a ValueError if the annotation tells another (H, W) than the image has."""
    if item.size not in (None, size):
        (told_h, told_w), (height, width) = item.size, size
        raise ValueError(
            f"{item.where}: is for an image of {told_w} × {told_h} pixels, but {item.image} has "
            f"{width} × {height}; its boxes would lie wrong"
        )


def fit_boxes(
    boxes: np.ndarray, size: tuple[int, int], *, min_side: float = 0.0
) -> tuple[np.ndarray, list[str | None]]:
    """Boxes cut at the border of the image, and for each what is wrong with it.

    Args:
        boxes: (M, 4) corners x1, y1, x2, y2 in pixels.
        size: (H, W) of the image.
        min_side: a width or height up to this many pixels is no area.

    Returns:
        Boxes (M, 4) within the image; for each None or half a sentence. A box that reaches over the
        border by at most two pixels is cut and nothing is said about it.

    >>> fit_boxes(np.array([[-1.0, 0, 4, 4], [2, 2, 9, 9], [3, 1, 3, 2]]), (5, 5))[1]
    [None, 'reaches out of the image of 5 × 5 pixels', 'has no area']
    """
    height, width = size
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    inside = boxes.clip(0, limits)
    over = np.abs(boxes - inside).max(axis=1, initial=0.0)
    sides = (inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf)
    faults: list[str | None] = []
    for reach, side in zip(over, sides, strict=True):
        if reach > SLACK:
            faults.append(f"reaches out of the image of {width} × {height} pixels")
        else:
            faults.append("has no area" if side <= min_side else None)
    return inside, faults
