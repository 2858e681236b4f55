"""A split of small images held as one uint8 array and indexed by batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_ext.datasets.groups import check_groups
from ssl_ext.registry import DATASETS

TASKS = ("multi-class", "binary", "ordinal", "multi-label")
# Upper bound of labels: class names and counts are stored for every class up to the largest one.
MAX_LABEL = 10**6


class DeviceBatch(dict):
    """A batch on the accelerator, which needs no pinned memory."""

    def pin_memory(self) -> "DeviceBatch":
        """Return the batch itself; called by a DataLoader with ``pin_memory=True``."""
        return self


@DATASETS.register_module()
class ArrayDataset(Dataset):
    """Images held in memory, indexed once per batch instead of once per image.

    Args:
        images: uint8 array or tensor (N, C, H, W), 1 to 4 channels.
        labels: integers (N,), or 0/1 of shape (N, L) for ``task='multi-label'``; −1 means
            unlabelled. None: every label is −1.
        classes: class names; without them the number of classes is the largest label + 1.
        task: ``'multi-class'``, ``'binary'``, ``'ordinal'`` or ``'multi-label'``.
        device: device of images and labels; ``'cuda'`` keeps them on the accelerator and builds the
            batches there, which needs ``num_workers=0``. None: the device of ``images``.
        available_splits: names of all splits of the source.
        split: name of this split.
        groups: N names of the images' patients, lesions or slides, as strings or integers; stored as a
            string array. None: images are independent.

    Raises:
        TypeError: images are not uint8 or labels are not integers.
        ValueError: wrong shape, empty set or group name, label out of range, unknown task or absent device.

    Example:
        >>> data = ArrayDataset(np.zeros((5, 3, 8, 8), np.uint8), [0, 1, 0, 1, 2])
        >>> batch = data.__getitems__([4, 0])
        >>> tuple(batch['inputs'].shape), batch['labels'].tolist(), data.num_classes
        ((2, 3, 8, 8), [2, 0], 3)
    """

    def __init__(
        self,
        images: np.ndarray | Tensor,
        labels: np.ndarray | Tensor | Sequence[int] | None = None,
        *,
        classes: Sequence[str] | None = None,
        task: str = "multi-class",
        device: str | torch.device | None = None,
        available_splits: Sequence[str] = ("train",),
        split: str = "train",
        groups: np.ndarray | Sequence[str] | Sequence[int] | None = None,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"task must be one of {TASKS} (config key: dataset.task), got {task!r}")
        self.task = task
        self.available_splits = tuple(available_splits)
        self.classes = None if classes is None else tuple(map(str, classes))
        self.images = _check_images(images)
        self.labels = _check_labels(labels, len(self.images), task, self.classes)
        self.num_classes = _count_classes(self.labels, task, self.classes)
        self.groups = check_groups(groups, len(self.images))
        self.metainfo = {
            "classes": self.classes,
            "task": task,
            "num_classes": self.num_classes,
            "channels": self.images.shape[1],
            "image_size": tuple(self.images.shape[2:]),
            "split": split,
        }
        if device is not None:
            device = on_available(device)
            self.images = self.images.to(device)
            self.labels = self.labels.to(device)

    # Files that the arrays come from, each with its official MD5 or None: see data_files.
    source_files: Sequence[tuple[Path, str | None]] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample: inputs (C, H, W) uint8, labels () or (L,), indices ()."""
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        """Return a batch: inputs (B, C, H, W) uint8, labels (B,) or (B, L), indices (B,).

        Raises:
            IndexError: an index outside [−N, N).
        """
        count = len(self.images)
        index = torch.as_tensor(indices, dtype=torch.int64)
        if len(index):
            # Checked on the host: an index out of range on CUDA is a device assert, which ends the process.
            low, high = torch.aminmax(index)
            if low < -count or high >= count:
                raise IndexError(f"index out of range for {count} images: {int(low)} to {int(high)}")
            if low < 0:
                index = index % count
        batch: dict[str, Tensor] = {}
        if self.images.device.type != "cpu":
            batch = DeviceBatch()
            if self.images.is_cuda:
                index = index.pin_memory()
            index = index.to(self.images.device, non_blocking=True)
        batch["inputs"] = self.images.index_select(0, index)
        batch["labels"] = self.labels.index_select(0, index)
        batch["indices"] = index
        return batch


def on_available(device: str | torch.device) -> torch.device:
    """Return a device; raise ValueError for CUDA without a GPU."""
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device='{device}' but no CUDA device is available; leave dataset.device unset")
    return device


def _check_images(images: np.ndarray | Tensor) -> Tensor:
    if isinstance(images, np.ndarray):
        # torch rejects negative strides and warns about read-only arrays; other arrays are not copied.
        images = np.require(images, requirements=["C", "W"])
    images = torch.as_tensor(images)
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}")
    if images.ndim != 4 or not 1 <= images.shape[1] <= 4:
        raise ValueError(
            f"images must have shape (N, C, H, W) with 1 to 4 channels, got {tuple(images.shape)}"
        )
    if images.numel() == 0:
        raise ValueError(f"the set is empty: images have shape {tuple(images.shape)}")
    return images


def _check_labels(
    labels: np.ndarray | Tensor | Sequence[int] | None,
    count: int,
    task: str,
    classes: tuple[str, ...] | None,
) -> Tensor:
    multi_label = task == "multi-label"
    if labels is None:
        shape = (count, len(classes)) if multi_label and classes else (count,)
        return torch.full(shape, -1, dtype=torch.int64)
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    labels = labels.to(torch.int64)
    wanted = "(N, L)" if multi_label else "(N,)"
    if labels.ndim != (2 if multi_label else 1) or len(labels) != count or not labels.numel():
        raise ValueError(
            f"labels of a {task} set must have shape {wanted} with N = {count} images, "
            f"got {tuple(labels.shape)}"
        )
    if multi_label and classes and labels.shape[1] != len(classes):
        raise ValueError(f"labels have {labels.shape[1]} columns for {len(classes)} classes")
    highest = 1 if multi_label or task == "binary" else len(classes) - 1 if classes else MAX_LABEL
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < -1 or high > highest:
        raise ValueError(
            f"labels of this {task} set must be 0 to {highest}, or -1 for unlabelled; "
            f"got values from {low} to {high}"
        )
    return labels


def _count_classes(labels: Tensor, task: str, classes: tuple[str, ...] | None) -> int:
    if task == "binary" and classes and len(classes) != 2:
        raise ValueError(f"a binary set has 2 classes, got {len(classes)}: {classes}")
    if classes:
        return len(classes)
    if task == "binary":
        return 2
    if task == "multi-label":
        return labels.shape[1] if labels.ndim == 2 else 0
    return int(labels.max()) + 1
