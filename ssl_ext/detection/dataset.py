"""Images with boxes: what VOC and COCO data have in common."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from ssl_ext.datasets.decode import read_image
from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.errors import sentence

from .annotations import Annotation, check_classes, check_names, check_size, fit_boxes


class Record(NamedTuple):
    """Annotation of an image: (H, W), boxes (M, 4) float32, labels (M,) int64, difficult (M,) bool."""

    image: Path
    image_id: int
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class DetectionDataset(Dataset):
    """Images with the boxes of their objects; all annotations are checked when it is built.

    Every image must exist and have the size that its annotation tells (only headers are read, in
    threads). Boxes that reach over the border by up to two pixels are cut there.

    Args:
        annotations: one for each image.
        classes: names; an object's label is its place here, from 0.
        keep_difficult: keep boxes marked difficult (for COCO: crowds). Evaluation needs them, it
            neither counts nor punishes what is found there; training may leave them out.
        keep_empty: keep images that have no boxes (left).
        ignore_other_classes: leave out objects of classes that are not listed, instead of an error.
        repair_boxes: cut boxes that reach further out of the image and leave out those without
            area, with one line in the log, instead of an error.
        min_side: a width or height up to this many pixels is no area.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: bad classes, an unknown class, a size that does not fit, a bad box, a damaged
            header, nothing left; the message names the file.
    """

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
                # Copies: whoever scales the boxes of a batch leaves the data set as it is.
                "boxes": torch.tensor(record.boxes),
                "labels": torch.tensor(record.labels),
                "difficult": torch.tensor(record.difficult),
                "image_id": record.image_id,
                "size": record.size,
            },
        }


def _image_size(item: Annotation) -> tuple[int, int]:
    """(H, W) from the header of an image file."""
    try:
        with Image.open(item.image) as image:
            return image.height, image.width
    except FileNotFoundError:
        by_hand = f"put the image there, or take it out of the set ({item.where})"
        raise missing_file(item.image, "image", by_hand, can_download=False) from None
    except Exception as error:
        # Decoders fail in any way on bytes that are no image.
        raise damaged_file(item.image, f"cannot be read as an image: {sentence(error)}") from error


def _arrays(
    item: Annotation, size: tuple[int, int], classes: tuple[str, ...], min_side: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Boxes, labels and difficult of the usable objects of listed classes, and what is wrong with boxes."""
    listed = [box for box in item.boxes if box.name in classes]
    corners = np.array([box.corners for box in listed], np.float64).reshape(-1, 4)
    corners, faults = fit_boxes(corners, size, min_side=min_side)
    # A box that is cut at the border stays if enough of it is inside.
    usable = ((corners[:, 2:] - corners[:, :2]) > min_side).all(axis=1)
    labels = np.array([classes.index(box.name) for box in listed], np.int64)
    difficult = np.array([box.difficult for box in listed], bool)
    sentences = [
        f"{item.where}: the box {', '.join(f'{value:g}' for value in box.told)} of a {box.name!r} {fault}"
        for box, fault in zip(listed, faults, strict=True)
        if fault
    ]
    return corners[usable].astype(np.float32), labels[usable], difficult[usable], sentences


def _report(faults: list[str], repair: bool) -> None:
    """Log how many boxes are repaired, or raise for the first."""
    if not faults:
        return
    more = f"; {len(faults)} such boxes in all" if len(faults) > 1 else ""
    if not repair:
        raise ValueError(
            f"{faults[0]}{more} (correct the files, or dataset.repair_boxes=True cuts boxes at the border "
            "and leaves out those without area)"
        )
    print_log(f"repaired: {faults[0]}{more}", logger="current", level=logging.WARNING)
