"""A user's image files, decoded once into memory, with labels from a CSV file."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, pad, pil_to_tensor, resize

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.decode import Reading, check_image_size, read_image, warn_of_dark
from ssl_ext.datasets.entries import Entry, read_entries
from ssl_ext.datasets.file_dataset import FileDataset, check_crop, padding
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
from ssl_ext.datasets.intensity import Intensity
from ssl_ext.datasets.labels import label_array
from ssl_ext.datasets.paths import Paths
from ssl_ext.files import shown
from ssl_ext.registry import DATASETS

NAMED = 5  # damaged files listed in a warning


@DATASETS.register_module()
class ImageFiles(ArrayDataset):
    """Image files of a folder, decoded into memory: for up to some ten thousand small images.

    Reads every format of :class:`ssl_ext.datasets.FolderDataset`, including 16-bit grey and DICOM.
    Files that cannot be decoded are skipped; one warning lists them.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``; without ``labels_file`` all images are ``'train'``.
        data_root: the folder, searched recursively.
        image_size: height and width of the images, in pixels.
        labels_file: CSV file (``,``, ``;`` or tab) with a header and the columns ``file`` (path below
            ``data_root``, relative to it or absolute), ``label`` (a name or a number; empty or −1:
            unlabelled) and, optionally, ``split`` and ``group`` (the patient, lesion or slide). The labels
            that occur are the classes, numbers in increasing order. None: all images of the folder,
            unlabelled, or labelled by ``class_folders``.
        label: name of the column of labels (None: ``label``), or of several columns with 0 and 1, one for
            each class; a line with an empty field or −1 in them is unlabelled.
        unlisted: add the images of the folder that the CSV file does not list to ``'train'``, unlabelled;
            those of DICOM patients with listed images in another split are left out. An error if the listed
            images have groups other than PatientIDs.
        class_folders: label images by their folders, ``data_root/class/…`` or ``data_root/split/class/…``.
        group: name of the column of groups; None: ``group``, if there is one, else PatientID if all are DICOM
            files, unless all have the same.
        test_share: fraction of each class used as ``'test'`` if there is no column (or folder) of splits, in
            (0, 1): see :func:`.drawn_for_test`. A group is never split.
        crop: ``'center'`` or ``'pad'``: see FileDataset.
        channels: 3 for RGB, 1 for grey.
        intensity: see FileDataset.
        frame: see FileDataset.
        task: see ArrayDataset; ``'multi-label'`` reads ``effusion|mass`` as two labels, and ``No Finding`` as
            none. None: ``'multi-class'``, or ``'multi-label'`` for several columns, unless both are possible.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no such folder, CSV file or image.
        ValueError: malformed CSV file, labels with several possible tasks, unknown split, option out of
            range, or no readable image.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/images",
        *,
        image_size: int,
        labels_file: str | None = None,
        class_folders: bool = False,
        label: str | Sequence[str] | None = None,
        unlisted: bool = False,
        group: str | None = None,
        test_share: float = 0.3,
        crop: str = "center",
        channels: int = 3,
        intensity: Intensity = "window",
        frame: int | str = "middle",
        task: str | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        check_image_size(image_size)
        check_crop(crop, ("center", "pad"))
        reading = Reading(channels, intensity, frame)
        found = read_entries(
            data_root, labels_file, label=label, group=group, test_share=test_share,
            class_folders=class_folders, unlisted=unlisted, task=task,
        )  # fmt: skip
        split = check_split(split or "train", found.available, f"ImageFiles {labels_file or found.root}")
        images, kept = _decode(found.root, found.of(split), image_size, reading, crop)
        super().__init__(
            images,
            label_array([entry.labels for entry in kept], found.classes, found.task),
            classes=found.classes or None,
            task=found.task,
            device=device,
            available_splits=found.available,
            split=split,
            groups=[entry.group for entry in kept] if found.all[0].group else None,
        )
        self.files = Paths.of(entry.file for entry in kept)


class PillowFiles(FileDataset):
    """Image files that are resized as ImageFiles resizes them, decoded by the loader's workers."""

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Resize and crop a decoded PIL image: uint8 (channels, image_size, image_size)."""
        return square(image, self.image_size, self.crop)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample, like FileDataset."""
        image = self.prepare(read_image(self.files[index], self.reading))
        return {"inputs": image, "labels": self.labels[index], "indices": torch.tensor(index)}


def reading_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set that decide how it reads and cuts files, without random crops."""
    names = ("image_size", "channels", "intensity", "frame", "crop")
    found = {name: settings[name] for name in names if name in settings}
    return {name: value for name, value in found.items() if (name, value) != ("crop", "random")}


def files_like(dataset: Mapping[str, Any], *, image_size: int, channels: int) -> FileDataset:
    """Create a reader of image files (without files yet) that resizes as the data set of a config does."""
    kind = str(dataset.get("type")).rpartition(".")[2]
    options = {**reading_options(dataset), "image_size": image_size, "channels": channels}
    return (PillowFiles if kind == "ImageFiles" else FileDataset)(**options)


def square(image: Image.Image, size: int, crop: str = "center") -> torch.Tensor:
    """Resize a decoded image and crop or pad it to uint8 (C, size, size)."""
    if crop == "pad":
        inside, border = padding(image.height, image.width, size)
        return pil_to_tensor(pad(resize(image, inside, InterpolationMode.BICUBIC), border))
    return pil_to_tensor(center_crop(resize(image, size, InterpolationMode.BICUBIC), [size, size]))


def _decode(
    root: Path, entries: Sequence[Entry], size: int, reading: Reading, crop: str
) -> tuple[torch.Tensor, list[Entry]]:
    """Return images (N, channels, size, size) uint8 and their entries."""
    warn_of_dark([str(root / entry.file) for entry in entries], reading)
    images = torch.empty((len(entries), reading.channels, size, size), dtype=torch.uint8)
    kept: list[Entry] = []
    damaged: list[str] = []
    for entry in entries:
        try:
            image = square(read_image(root / entry.file, reading), size, crop)
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
