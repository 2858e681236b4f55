"""PASCAL VOC's average precision of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageBoxes:
    """Detections and true boxes of one class in one image; corners x1, y1, x2, y2 with edges from 0.

    ``boxes`` (P, 4), ``scores`` (P,), ``truth`` (M, 4), ``difficult`` (M,) bool.
    """

    boxes: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    difficult: np.ndarray


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (P, M) of boxes (P, 4) and (M, 4); 0 if the union has no area.

    >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    joined = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, joined, out=np.zeros_like(shared), where=joined > 0)


def voc_average_precision(images: Sequence[ImageBoxes], thresholds: Sequence[float]) -> np.ndarray:
    """Eleven-point and all-point average precision of one class at each threshold.

    Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, Sec. 4.2, and,
    for all points, the development kit of 2010 and later. A detection is assigned to the true box of
    largest IoU, if IoU ≥ threshold. Of the detections assigned to one box, the highest score is a true
    positive and the others are false positives; detections assigned to a difficult box are ignored, and
    difficult boxes are not counted. Ties keep the given order.

    Args:
        images: each image once.
        thresholds: T values in (0, 1].

    Returns:
        (T, 2) float64, eleven-point and all-point values in [0, 1]; NaN if there is no true box that is not
        difficult.
    """
    total = sum(int((~image.difficult).sum()) for image in images)
    if total == 0:
        return np.full((len(thresholds), 2), np.nan)
    scores, overlaps, owners, ignored = _matches(images)
    order = np.argsort(-scores, kind="stable")
    overlaps, owners, ignored = overlaps[order], owners[order], ignored[order]
    results = []
    for threshold in thresholds:
        reached = overlaps >= threshold
        counted = ~(reached & ignored)
        candidates = np.flatnonzero(reached & counted)
        # In order of score, the first detection of each true box is the true positive.
        first = candidates[np.unique(owners[candidates], return_index=True)[1]]
        right = np.zeros(len(order), bool)
        right[first] = True
        results.append(_areas(right[counted], total))
    return np.array(results)


def _matches(images: Sequence[ImageBoxes]) -> tuple[np.ndarray, ...]:
    """Return each detection's score, largest IoU, index of that true box and its difficult flag."""
    scores = [np.zeros(0)]
    overlaps, owners, ignored = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    start = 0
    for image in images:
        count = len(image.scores)
        scores.append(image.scores)
        if count and len(image.truth):
            iou = box_iou(image.boxes, image.truth)
            best = iou.argmax(axis=1)
            overlaps.append(iou[np.arange(count), best])
            owners.append(start + best)
            ignored.append(image.difficult[best])
        else:
            overlaps.append(np.zeros(count))
            owners.append(np.full(count, -1))
            ignored.append(np.zeros(count, bool))
        start += len(image.truth)
    parts = (scores, overlaps, owners, ignored)
    return tuple(np.concatenate(part) for part in parts)


def _areas(right: np.ndarray, total: int) -> tuple[float, float]:
    """Eleven-point and all-point AP of ``right`` (P,) bool, ordered by score."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    # The interpolated precision is the maximum at this or any higher recall.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # recall >= i / 10 in integers, which avoids rounding errors.
    places = [np.searchsorted(10 * hits, i * total) for i in range(11)]
    eleven = sum(float(envelope[place]) for place in places if place < len(right)) / 11
    return eleven, float(envelope[right].sum() / total)
