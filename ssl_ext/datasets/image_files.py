"""A user's image files, decoded once into memory, with labels from a CSV file."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.decode import check_image_options, read_image
from ssl_ext.datasets.entries import Entry, read_entries
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
from ssl_ext.datasets.paths import Paths
from ssl_ext.files import shown
from ssl_ext.registry import DATASETS

NAMED = 5  # damaged files listed in a warning


@DATASETS.register_module()
class ImageFiles(ArrayDataset):
    """Image files of a folder, decoded into memory: for up to some ten thousand small images.

    Reads every format of :class:`ssl_ext.datasets.FolderDataset`, including 16-bit grey. The shorter side
    is resized to ``image_size`` and the centre cropped. Files that cannot be decoded are skipped; one
    warning lists them.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``; without ``labels_file`` all images are ``'train'``.
        data_root: the folder, searched recursively.
        image_size: height and width of the images, in pixels.
        labels_file: CSV file with a header and the columns ``file`` (path relative to ``data_root``),
            ``label`` (a name or a number; empty: unlabelled) and, optionally, ``split`` and ``group`` (the
            patient, lesion or slide). The labels that occur are the classes, numbers in increasing
            order. None: all images of the folder, unlabelled, or labelled by ``class_folders``.
        class_folders: label images by their folders, ``data_root/class/…`` or ``data_root/split/class/…``.
        group: name of the column of groups; None: ``group``, if there is one.
        test_share: fraction of each class used as ``'test'`` if there is no column (or folder) of splits, in
            (0, 1): see :func:`.drawn_for_test`. A group is never split.
        channels: 3 for RGB, 1 for grey.
        task: see ArrayDataset.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no such folder, CSV file or image.
        ValueError: malformed CSV file, unknown split, option out of range, or no readable image.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/images",
        *,
        image_size: int,
        labels_file: str | None = None,
        class_folders: bool = False,
        group: str | None = None,
        test_share: float = 0.3,
        channels: int = 3,
        task: str = "multi-class",
        device: str | torch.device | None = None,
    ) -> None:
        check_image_options(channels, image_size)
        root, entries, classes, available = read_entries(
            data_root, labels_file, group, test_share, class_folders
        )
        split = check_split(split or "train", available, f"ImageFiles {labels_file or root}")
        images, kept = _decode(root, [e for e in entries if e.split == split], image_size, channels)
        super().__init__(
            images,
            np.array([classes.index(e.label) if e.label else -1 for e in kept], np.int64),
            classes=classes or None,
            task=task,
            device=device,
            available_splits=available,
            split=split,
            groups=[entry.group for entry in kept] if entries[0].group else None,
        )
        self.files = Paths.of(entry.file for entry in kept)


class PillowFiles(FileDataset):
    """Image files that are resized as ImageFiles resizes them, decoded by the loader's workers."""

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Resize and crop a decoded PIL image: uint8 (channels, image_size, image_size)."""
        return square(image, self.image_size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample, like FileDataset."""
        image = self.prepare(read_image(self.files[index], self.channels))
        return {"inputs": image, "labels": self.labels[index], "indices": torch.tensor(index)}


def files_like(dataset: Mapping[str, Any], *, image_size: int, channels: int) -> FileDataset:
    """Create a reader of image files (without files yet) that resizes as the data set of a config does."""
    kind = str(dataset.get("type")).rpartition(".")[2]
    return (PillowFiles if kind == "ImageFiles" else FileDataset)(image_size=image_size, channels=channels)


def square(image: Image.Image, size: int) -> torch.Tensor:
    """Resize the shorter side of a decoded image and crop the centre: uint8 (C, size, size)."""
    return pil_to_tensor(center_crop(resize(image, size, InterpolationMode.BICUBIC), [size, size]))


def _decode(
    root: Path, entries: Sequence[Entry], size: int, channels: int
) -> tuple[torch.Tensor, list[Entry]]:
    """Return images (N, channels, size, size) uint8 and their entries."""
    images = torch.empty((len(entries), channels, size, size), dtype=torch.uint8)
    kept: list[Entry] = []
    damaged: list[str] = []
    for entry in entries:
        try:
            image = square(read_image(root / entry.file, channels), size)
        except FileNotFoundError as error:
            by_hand = f"the CSV file lists {entry.file!r}, a path below {shown(root)} (config key: data_root)"
            raise missing_file(root / entry.file, "ImageFiles", by_hand, can_download=False) from error
        except ValueError as error:
            damaged.append(str(error))
            continue
        images[len(kept)] = image
        kept.append(entry)
    if not kept:
        raise damaged_file(root, f"holds no readable image; the first is {damaged[0]}")
    if damaged:
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        print_log(
            f"{len(damaged)} of {len(entries)} files are skipped: {'; '.join(damaged[:NAMED])}{more}",
            logger="current",
            level=logging.WARNING,
        )
    return images[: len(kept)], kept
