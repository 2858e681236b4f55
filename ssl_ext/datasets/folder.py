"""A folder of image files."""

import os
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize, resized_crop

from ssl_ext.datasets.decode import EXTENSIONS, read_image
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
from ssl_ext.registry import DATASETS

USUAL_SPLITS = ("train", "val", "test")


@DATASETS.register_module()
class FolderDataset(Dataset):
    """Image files, decoded by the loader's workers and cut to one size.

    Layouts: ``data_root/split/class/…`` or ``data_root/class/…`` (one split, ``'train'``); images
    that lie in no class folder have the label −1. Class folders are searched to any depth. Class
    numbers count the class names of all splits in alphabetical order. Construction only lists
    names.

    Args:
        split: sub-folder of ``data_root``; None or ``'train'`` for a folder without splits.
        data_root: the folder.
        image_size: height and width of the images handed over, in pixels.
        crop: ``'center'``: the shorter side is brought to ``image_size``, then the centre is cut
            out; ``'random'``: a random part with an area of ``scale`` of the image and an aspect
            ratio in [3/4, 4/3], drawn anew each time from torch's generator.
        scale: range of that area, 0 < low ≤ high ≤ 1.
        channels: 3 for RGB, 1 for grey.
        download: only accepted as False; a local folder cannot be fetched.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: unknown split or option, no images; on reading: a damaged file, by its name.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/images",
        *,
        image_size: int,
        crop: str = "center",
        scale: tuple[float, float] = (0.2, 1.0),
        channels: int = 3,
        download: bool = False,
    ) -> None:
        root = Path(data_root)
        if download:
            raise ValueError(f"dataset.download=True: {root} is a folder of your own, nothing fetches it")
        if crop not in ("center", "random"):
            raise ValueError(f"dataset.crop must be 'center' or 'random', got {crop!r}")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"dataset.scale must satisfy 0 < low <= high <= 1, got {scale}")
        if channels not in (1, 3):
            raise ValueError(f"dataset.channels must be 1 or 3, got {channels}")
        if image_size < 1:
            raise ValueError(f"dataset.image_size must be positive, got {image_size}")
        if not root.is_dir():
            by_hand = "give the folder of the images as data_root (config key: dataset.data_root)"
            raise missing_file(root, "FolderDataset", by_hand, can_download=False)
        self.image_size, self.crop, self.scale, self.channels = image_size, crop, scale, channels
        folder, self.available_splits, classes = _layout(root, split)
        self.files, labels = _list_files(folder, classes)
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.classes = tuple(classes) or None
        self.num_classes = len(classes)
        self.task = "multi-class"
        self.metainfo = {
            "classes": self.classes,
            "task": self.task,
            "num_classes": self.num_classes,
            "channels": channels,
            "image_size": (image_size, image_size),
            "split": split or "train",
        }

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample: inputs (C, image_size, image_size) uint8, labels (), indices ()."""
        image = read_image(self.files[index], self.channels)
        size, bicubic = self.image_size, InterpolationMode.BICUBIC
        if self.crop == "center":
            image = center_crop(resize(image, size, bicubic), [size, size])
        else:
            box = RandomResizedCrop.get_params(image, list(self.scale), [3 / 4, 4 / 3])
            image = resized_crop(image, *box, [size, size], bicubic)
        return {
            "inputs": pil_to_tensor(image),
            "labels": self.labels[index],
            "indices": torch.tensor(index % len(self)),
        }


def _sub_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def _layout(root: Path, split: str | None) -> tuple[Path, tuple[str, ...], list[str]]:
    """Return the folder of the split, the names of all splits and of all classes."""
    found = _sub_folders(root)
    if split not in found and not set(found) & set(USUAL_SPLITS):
        check_split(split or "train", ("train",), f"FolderDataset {root} (no split sub-folders)")
        return root, ("train",), found
    folder = root / check_split(split, tuple(found), f"FolderDataset {root}")
    return folder, tuple(found), sorted({c for s in found for c in _sub_folders(root / s)})


def _list_files(folder: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    files: list[str] = []
    labels: list[int] = []
    for current, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = sorted(name for name in names if name.lower().endswith(EXTENSIONS))
        inside = Path(current).relative_to(folder).parts
        label = classes.index(inside[0]) if inside else -1
        files += [os.path.join(current, name) for name in images if not name.startswith(".")]
        labels += [label] * (len(files) - len(labels))
    if not files:
        raise damaged_file(folder, f"holds no images ({', '.join(EXTENSIONS)})")
    if -1 in labels and max(labels) >= 0:
        raise damaged_file(folder, "holds images both in class folders and beside them; move them apart")
    return files, labels
