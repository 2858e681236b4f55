"""Average precision of detections, accumulated over images and processes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from torch import Tensor

from .annotations import check_classes
from .average_precision import ImageBoxes, voc_average_precision
from .coco_average_precision import coco_average_precision

THRESHOLDS = np.linspace(0.5, 0.95, 10).round(2)
PLACES = {"AP50": 0, "AP75": 5}
Found = Mapping[str, Any]


class DetectionEvaluator:
    """COCO's and PASCAL VOC's average precision.

    Difficult boxes (for COCO: crowds) are not counted and detections on them are ignored, by the rules of
    :func:`voc_average_precision` and :func:`coco_average_precision`.

    Args:
        classes: names of the K classes.

    Example:
        >>> import torch
        >>> evaluator = DetectionEvaluator(['cell'])
        >>> boxes, labels = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0])
        >>> found = dict(boxes=boxes, scores=torch.tensor([0.9]), labels=labels)
        >>> true = dict(boxes=boxes, labels=labels, difficult=torch.tensor([False]), image_id=0)
        >>> evaluator.add([found], [true])
        >>> round(evaluator.compute()['AP50'], 6)
        1.0
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = check_classes(classes)
        self._images: dict[int, dict[str, np.ndarray]] = {}

    def add(self, predictions: Sequence[Found], data_samples: Sequence[Found]) -> None:
        """Add the detections and true boxes of a batch.

        Repeated images (``image_id``) count once: samplers repeat images to give all processes equally many.

        Args:
            predictions: for each image ``boxes`` (P, 4), ``scores`` (P,), ``labels`` (P,).
            data_samples: for each image ``boxes`` (M, 4), ``labels`` (M,), ``difficult`` (M,) and
                ``image_id``.

        Raises:
            ValueError: numbers of images or boxes differ, a label is out of range, a value is not finite,
                or a box has x1 > x2 or y1 > y2.
        """
        if len(predictions) != len(data_samples):
            raise ValueError(f"predictions of {len(predictions)} images for {len(data_samples)} images")
        for found, true in zip(predictions, data_samples, strict=True):
            number = int(true["image_id"])
            detections = self._arrays(found, "scores", f"prediction of image {number}")
            truth = self._arrays(true, "difficult", f"data_sample of image {number}")
            self._images[number] = {
                **detections,
                **{f"true_{key}": value for key, value in truth.items()},
            }

    def compute(self) -> dict[str, Any]:
        """Compute average precisions in [0, 1] over the images of all processes; the same on each process.

        ``AP``, ``AP50``, ``AP75``: COCO's, averaged over the classes with boxes (``AP`` also over the IoU
        thresholds 0.5, 0.55 … 0.95). ``voc07_…``: PASCAL VOC's eleven-point AP, as in published VOC07
        results; ``voc_…``: all-point AP. ``per_class``: the nine values by class name, NaN for a class
        without boxes other than difficult ones. ``images``: number of images.

        Raises:
            ValueError: no images.
        """
        images: dict[int, dict[str, np.ndarray]] = {}
        for part in all_gather_object(self._images):
            images = {**part, **images}
        if not images:
            raise ValueError("no images were added to the evaluator")
        ordered = [images[number] for number in sorted(images)]
        classes = [[_of_class(image, label) for image in ordered] for label in range(len(self.classes))]
        voc = np.stack([voc_average_precision(one, THRESHOLDS) for one in classes], axis=1)  # (10, K, 2)
        kinds = {"": coco_average_precision(classes), "voc07_": voc[..., 0], "voc_": voc[..., 1]}
        figures: dict[str, np.ndarray] = {}
        for kind, values in kinds.items():
            figures[f"{kind}AP"] = values.mean(axis=0)
            figures |= {f"{kind}{name}": values[place] for name, place in PLACES.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mean of empty slice")
            results: dict[str, Any] = {key: float(np.nanmean(value)) for key, value in figures.items()}
        results["per_class"] = {
            name: {key: float(value[label]) for key, value in figures.items()}
            for label, name in enumerate(self.classes)
        }
        return results | {"images": len(ordered)}

    def _arrays(self, values: Found, third: str, what: str) -> dict[str, np.ndarray]:
        """Return the validated boxes (float64), labels and ``third`` of an image."""
        arrays = {key: _host(values[key]) for key in ("boxes", "labels", third)}
        boxes = arrays["boxes"] = arrays["boxes"].astype(np.float64).reshape(-1, 4)
        labels = arrays["labels"]
        if not len(boxes) == len(labels) == len(arrays[third]):
            raise ValueError(
                f"{what}: {len(boxes)} boxes, {len(labels)} labels, {len(arrays[third])} {third}; need equal"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"{what}: labels must be 0 to {len(self.classes) - 1}, got {sorted(set(labels.tolist()))}"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(arrays[third]).all()):
            raise ValueError(f"{what}: boxes and {third} must be finite")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError(f"{what}: boxes must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
        return arrays


def _host(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    # numpy has no bfloat16.
    return (values.double() if values.is_floating_point() else values).numpy()


def _of_class(image: Mapping[str, np.ndarray], label: int) -> ImageBoxes:
    found, true = image["labels"] == label, image["true_labels"] == label
    return ImageBoxes(
        image["boxes"][found],
        image["scores"][found].astype(np.float64),
        image["true_boxes"][true],
        image["true_difficult"][true].astype(bool),
    )
