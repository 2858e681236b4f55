"""PASCAL VOC and data sets in its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_ext.datasets.files import missing_file
from ssl_ext.files import shown
from ssl_ext.registry import DATASETS

from .annotations import Annotation
from .dataset import DetectionDataset
from .voc_layout import LAYOUT, Split, group_of, image_names, images_folder, locate
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


@DATASETS.register_module()
class VOCDetection(DetectionDataset):
    """Images with boxes from PASCAL VOC or a folder in its format.

    Layouts: ``data_root/VOC2007`` or ``data_root/VOCdevkit/VOC2007`` for splits with a year;
    ``data_root`` with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main`` for splits that are plain
    names, or a folder for each of them (``valid`` is read as ``val``); without splits, all ``.xml`` files
    of ``data_root/Annotations`` or of ``data_root``. If there are neither lists nor folders of splits,
    ``'train'`` and ``'test'`` are drawn: the same whatever the order of the files. Images are
    in ``JPEGImages`` or ``images`` or next to the ``.xml`` files, with the same name or that of
    ``<filename>``. Names of these folders are case-insensitive. For
    corners see :func:`read_voc_xml`; boxes one pixel wide or high are treated as annotation errors
    without area. ``image_id`` is the row.

    Args:
        data_root: the folder.
        splits: ``(year, name)`` pairs such as ``[('2007', 'trainval'), ('2012', 'trainval')]``,
            joined in this order; or names; None for all files.
        classes: names; by default the 20 of PASCAL VOC, or, if the folder's annotations have another name,
            all names of its annotations, sorted.
        test_share: share of the images (or groups) that are drawn for ``'test'``, in (0, 1).
        group: regular expression for the group in an image's name (the patient, slide or video), such as
            ``'slide[0-9]+'``; a drawn split never divides a group, and evaluation on images of a group
            that was trained on is an error.
        options: ``keep_difficult``, ``keep_empty``, ``ignore_other_classes`` and ``repair_boxes`` of
            :class:`DetectionDataset`.

    Raises:
        FileNotFoundError: no such folder, split, annotation or image.
        ValueError: an image occurs twice, an option out of range, or an error of :class:`DetectionDataset`.
    """

    def __init__(
        self,
        data_root: str | os.PathLike,
        splits: Split | Sequence[Split] | None = None,
        *,
        classes: Sequence[str] | None = None,
        test_share: float = 0.2,
        group: str | None = None,
        **options: Any,
    ) -> None:
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise missing_file(root, "VOCDetection", LAYOUT, can_download=False)
        if not 0 < test_share < 1:
            raise ValueError(f"dataset.test_share is {test_share}; it must be between 0 and 1.")
        if splits is None or isinstance(splits, str):
            splits = [splits] if splits else [""]
        annotations: list[Annotation] = []
        every: set[Path] = set()
        groups: dict[Path, str] = {}
        for split in splits:
            folder, files, all_files = locate(root, split, test_share=test_share, group=group)
            found = _read(folder, files, start=len(annotations))
            annotations += found
            every.update(all_files)
            if group is not None:
                groups |= {item.image: group_of(path, group) for item, path in zip(found, files, strict=True)}
        image, times = Counter(item.image for item in annotations).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{image} occurs {times} times in the splits (config key: dataset.splits)")
        classes = _names(every) if classes is None else classes
        super().__init__(annotations, classes, min_side=1.0, **options)
        if group is not None:
            self.groups = np.array([groups[record.image] for record in self.records])


def _names(files: set[Path]) -> Sequence[str]:
    """Classes of a data set: PASCAL VOC's if all annotated names are among them, else all names, sorted."""
    names = {box.name for path in files for box in read_voc_xml(path)[2]}
    return VOC_CLASSES if names <= set(VOC_CLASSES) else sorted(names)


def _read(folder: Path, files: Sequence[Path], *, start: int) -> list[Annotation]:
    images = images_folder(folder, files)
    names = image_names(images)
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
