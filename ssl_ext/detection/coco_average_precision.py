"""COCO's average precision, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from .average_precision import ImageBoxes


def coco_average_precision(classes: Sequence[Sequence[ImageBoxes]]) -> np.ndarray:
    """Average precision of each class at the IoU thresholds 0.5, 0.55 … 0.95.

    Uses at most 100 detections per class and image, and 101 recall levels (Lin et al., "Microsoft COCO",
    2014, and its evaluation code). Difficult boxes are treated as crowds (``iscrowd``): they are not
    counted, and detections whose share of *own* area inside one reaches the threshold are ignored.

    Args:
        classes: for each of K classes, the same N images.

    Returns:
        (10, K) float64 in [0, 1]; NaN for a class without boxes other than difficult ones.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for label, images in enumerate(classes):
        for number, image in enumerate(images):
            place = dict(image_id=number, category_id=label)
            truth += [
                dict(place, **_shape(box), iscrowd=int(difficult))
                for box, difficult in zip(image.truth, image.difficult, strict=True)
            ]
            found += [
                dict(place, **_shape(box), iscrowd=0, score=float(score))
                for box, score in zip(image.boxes, image.scores, strict=True)
            ]
    # pycocotools prints its progress, and loadRes rejects an empty list of detections.
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for entries in (truth, found):
            side = COCO()
            side.dataset = dict(
                images=[dict(id=number) for number in range(len(classes[0]))],
                categories=[dict(id=label) for label in range(len(classes))],
                # COCOeval treats id 0 as "not matched".
                annotations=[dict(entry, id=number) for number, entry in enumerate(entries, 1)],
            )
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, iouType="bbox")
        # One area range (all sizes) instead of four.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (10, 101, K), -1 without counted boxes
    return np.where((precision < 0).any(axis=1), np.nan, precision.mean(axis=1))


def _shape(box: np.ndarray) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box)
    return dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1))
