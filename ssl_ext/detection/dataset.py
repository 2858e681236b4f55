"""Base class of the VOC and COCO data sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from ssl_ext.datasets.decode import image_size, read_image
from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.errors import sentence

from .annotations import Annotation, check_classes, check_names, check_size, fit_boxes


class Record(NamedTuple):
    """Image with size (H, W), boxes (M, 4) float32, labels (M,) int64 and difficult (M,) bool."""

    image: Path
    image_id: int
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class DetectionDataset(Dataset):
    """Images with the boxes of their objects; the constructor validates all annotations.

    Every image must exist and have its annotated size (only headers are read, in threads). Boxes that
    exceed the border by up to two pixels are clipped.

    Args:
        annotations: one per image.
        classes: names; labels are indices into this list.
        keep_difficult: keep boxes marked difficult (for COCO: crowds). Evaluation needs them to ignore
            detections there; training may drop them.
        keep_empty: keep images without (remaining) boxes.
        ignore_other_classes: drop objects of classes that are not listed, instead of an error.
        repair_boxes: clip boxes that exceed the border by more and drop boxes without area, with one
            warning, instead of an error.
        min_side: boxes with a width or height up to this, in pixels, have no area.

    Attributes:
        groups: group name of each image (N,), such as its patient or slide; None without groups.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: invalid or unknown classes, an annotated size that differs from the image's, an invalid
            box, a damaged header, or no images left; the message names the file.
    """

    groups: np.ndarray | None = None

    def __init__(
        self,
        annotations: Sequence[Annotation],
        classes: Sequence[str],
        *,
        keep_difficult: bool = True,
        keep_empty: bool = True,
        ignore_other_classes: bool = False,
        repair_boxes: bool = False,
        min_side: float = 0.0,
    ) -> None:
        self.classes = check_classes(classes)
        self.metainfo = {"classes": self.classes, "channels": 3}
        if not ignore_other_classes:
            check_names(annotations, self.classes)
        with ThreadPoolExecutor(max_workers=8) as pool:
            sizes = list(pool.map(_image_size, annotations))
        self.records: list[Record] = []
        faults: list[str] = []
        for item, size in zip(annotations, sizes, strict=True):
            check_size(item, size)
            boxes, labels, difficult, wrong = _arrays(item, size, self.classes, min_side)
            faults += wrong
            keep = np.ones(len(boxes), bool) if keep_difficult else ~difficult
            if keep_empty or keep.any():
                self.records.append(
                    Record(item.image, item.image_id, size, boxes[keep], labels[keep], difficult[keep])
                )
        _report(faults, repair_boxes)
        if not self.records:
            raise ValueError(
                f"no images{' with boxes' if annotations else ''} are left of {len(annotations)} "
                "(config keys: dataset.classes, dataset.keep_empty)"
            )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one image and its boxes.

        ``inputs`` (3, H, W) uint8 RGB; ``data_samples``: ``boxes`` (M, 4) float32 x1, y1, x2, y2 in
        pixels, ``labels`` (M,) int64, ``difficult`` (M,) bool, ``image_id``, ``size`` (H, W).
        """
        record = self.records[index]
        return {
            "inputs": pil_to_tensor(read_image(record.image)),
            "data_samples": {
                # Copies, so that in-place changes to a batch do not affect the data set.
                "boxes": torch.tensor(record.boxes),
                "labels": torch.tensor(record.labels),
                "difficult": torch.tensor(record.difficult),
                "image_id": record.image_id,
                "size": record.size,
            },
        }


def _image_size(item: Annotation) -> tuple[int, int]:
    """Read (H, W) of the upright image from the header of its file."""
    try:
        return image_size(item.image)
    except FileNotFoundError:
        by_hand = f"add the image, or remove its annotation ({item.where})"
        raise missing_file(item.image, "image", by_hand, can_download=False) from None
    except Exception as error:
        # Decoders raise many types on damaged files.
        raise damaged_file(item.image, f"cannot be read as an image: {sentence(error)}") from error


def _arrays(
    item: Annotation, size: tuple[int, int], classes: tuple[str, ...], min_side: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return boxes, labels and difficult of the usable objects of listed classes, and faults of boxes."""
    listed = [box for box in item.boxes if box.name in classes]
    corners = np.array([box.corners for box in listed], np.float64).reshape(-1, 4)
    corners, faults = fit_boxes(corners, size, min_side=min_side)
    # Clipped boxes are kept if the part inside the image has an area.
    usable = ((corners[:, 2:] - corners[:, :2]) > min_side).all(axis=1)
    labels = np.array([classes.index(box.name) for box in listed], np.int64)
    difficult = np.array([box.difficult for box in listed], bool)
    sentences = [
        f"{item.where}: the box {', '.join(f'{value:g}' for value in box.numbers)} of a {box.name!r} {fault}"
        for box, fault in zip(listed, faults, strict=True)
        if fault
    ]
    return corners[usable].astype(np.float32), labels[usable], difficult[usable], sentences


def _report(faults: list[str], repair: bool) -> None:
    """Warn about repaired boxes, or raise a ValueError that names the first."""
    if not faults:
        return
    more = f"; {len(faults)} such boxes in all" if len(faults) > 1 else ""
    if not repair:
        raise ValueError(
            f"{faults[0]}{more} (correct the files, or set dataset.repair_boxes=True to clip boxes to the "
            "image and drop those without area)"
        )
    print_log(f"repaired: {faults[0]}{more}", logger="current", level=logging.WARNING)
