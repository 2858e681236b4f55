"""A user's own images in one ``.npz`` file."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log

from ssl_ext.datasets.array_dataset import MAX_LABEL, ArrayDataset
from ssl_ext.datasets.files import check_split, damaged_file, missing_file, npz_array, npz_names
from ssl_ext.datasets.groups import read_npz_groups
from ssl_ext.datasets.layouts import to_nchw, to_uint8
from ssl_ext.registry import DATASETS

SPLITS = ("train", "val", "test")
STYLES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
NAMED = 20  # labels listed in the log


@DATASETS.register_module()
class NPZDataset(ArrayDataset):
    """Images of one ``.npz`` file with the keys of MedMNIST or ``x_train``, ``y_train``, ….

    Keys: ``train_images``/``train_labels`` or ``x_train``/``y_train``, the same for ``val`` and
    ``test``. Splits are optional, and so are the labels of ``train``. ``classes`` may hold class names.
    Images are integers from 0 to 255 of any dtype, or floats in [0, 1]. Labels of shape (N,) or (N, 1) are
    one class per image, -1 for unlabelled. With ``classes`` they index the names; without, the values that
    occur in any split are the classes, in increasing order. Labels of shape (N, L) are 0/1 per class;
    one-hot labels need ``task``. ``train_groups`` (or ``groups_train``), … may hold the name or number of
    each image's patient, lesion or slide. Object arrays are rejected, nothing is unpickled.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``; the file must hold it.
        data_root: path of the ``.npz`` file.
        layout: ``'NHWC'``, ``'NCHW'`` or ``'NHW'`` (grey); None: inferred from the shape.
        as_rgb: True repeats a grey channel three times.
        task: see ArrayDataset; None: ``'multi-label'`` for labels (N, L), else ``'multi-class'``. With a
            task of one class per image, one-hot labels are converted to class indices.
        group: arrays ``train_{group}`` (or ``{group}_train``), … that hold the groups; None: ``'groups'``, if
            there are such arrays.
        download: must be False.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown split or layout, ambiguous or wrong shape, wrong dtype or range, labels
            out of range, one-hot labels without ``task``, truncated file or object arrays; the message
            names the file.
    """

    def __init__(
        self,
        split: str,
        data_root: str,
        *,
        layout: str | None = None,
        as_rgb: bool = False,
        task: str | None = None,
        group: str | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        path = Path(data_root).expanduser()
        if download:
            raise ValueError(f"dataset.download=True: {path} is a local file and cannot be downloaded")
        if not path.is_file():
            by_hand = "give the path of a .npz file as data_root (config key: dataset.data_root)"
            raise missing_file(path, "NPZDataset", by_hand, can_download=False)
        names = npz_names(path)
        keys = _keys(path, names)
        check_split(split, tuple(keys), f"NPZDataset {path}")
        labels = {
            part: _read_labels(path, label_key) for part, (_, label_key) in keys.items() if label_key in names
        }
        if split not in labels and split != "train":
            raise damaged_file(path, f"no labels {keys[split][1]!r} for split {split!r}")
        group_key = "{group}_{split}" if keys[split][0].startswith("x_") else "{split}_{group}"
        groups = read_npz_groups(path, names, split, tuple(keys), group, key=group_key)
        try:
            tensor = _read_images(path, keys[split][0], layout, as_rgb)
            classes = npz_array(path, "classes").tolist() if "classes" in names else None
            labels = _one_class_each(labels, task)
            multi_label = any(found.ndim == 2 for found in labels.values())
            if not classes and labels:
                labels, classes = _number_classes(path, labels)
            elif classes and not multi_label:
                _check_numbers(labels, len(classes))
            super().__init__(
                tensor,
                labels.get(split),
                classes=classes,
                task=task or ("multi-label" if multi_label else "multi-class"),
                device=device,
                available_splits=tuple(keys),
                split=split,
                groups=groups,
            )
        except (TypeError, ValueError) as error:
            raise damaged_file(path, f"split {split!r}: {error}") from error
        self.source_files = ((path, None),)


def npz_images(path: Path, split: str, *, as_rgb: bool = False) -> torch.Tensor:
    """Images (N, C, H, W) uint8 of a split of a file that :class:`NPZDataset` reads; labels are not needed.

    Raises:
        ValueError: see NPZDataset.
    """
    keys = _keys(path, npz_names(path))
    return _read_images(path, keys[check_split(split, tuple(keys), f"'{path}'")][0], None, as_rgb)


def _read_images(path: Path, key: str, layout: str | None, as_rgb: bool) -> torch.Tensor:
    images = torch.from_numpy(to_nchw(to_uint8(npz_array(path, key)), layout))
    return images.expand(-1, 3, -1, -1) if as_rgb and images.shape[1] == 1 else images


def _keys(path: Path, names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Return {split: (image key, label key)} for the key style of the file."""
    found = []
    for images, labels in STYLES:
        keys = {s: (images.format(s), labels.format(s)) for s in SPLITS if images.format(s) in names}
        if keys:
            found.append(keys)
    if len(found) != 1:
        reason = "keys of both styles" if found else "no images"
        raise damaged_file(
            path,
            f"{reason}; expected train_images, train_labels, … or x_train, y_train, …; "
            f"the file holds {', '.join(names)}",
        )
    return found[0]


def _read_labels(path: Path, name: str) -> np.ndarray:
    labels = npz_array(path, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2):
        raise damaged_file(
            path,
            f"{name} must be integers of shape (N,), (N, 1) or (N, L), got {labels.dtype} {labels.shape}",
        )
    if labels.dtype.kind != "b" and labels.max(initial=0) > MAX_LABEL:
        raise damaged_file(path, f"{name} reaches {labels.max()}; class numbers up to {MAX_LABEL} are read")
    whole = labels.astype(np.int64) if np.isfinite(labels).all() else None
    if whole is None or not np.array_equal(whole, labels):
        raise damaged_file(path, f"{name} must be whole numbers")
    return whole


def _one_class_each(labels: dict[str, np.ndarray], task: str | None) -> dict[str, np.ndarray]:
    """Return one-hot labels (N, L) as class indices if the task has one class per image, others unchanged.

    Raises:
        ValueError: one-hot labels, and ``task`` is None.
    """
    wide = [found for found in labels.values() if found.ndim == 2]
    if task == "multi-label" or not wide or not all(map(_one_hot, wide)):
        return labels
    if task is None:
        raise ValueError(
            "each row of the labels holds a single 1; set dataset.task='multi-class' if every image has one "
            "class (one-hot labels), or dataset.task='multi-label' if it may have several"
        )
    return {
        part: np.where(found.max(axis=1) < 0, -1, found.argmax(axis=1)) if found.ndim == 2 else found
        for part, found in labels.items()
    }


def _one_hot(labels: np.ndarray) -> bool:
    labelled = labels[(labels >= 0).any(axis=1)]
    return bool(len(labelled) and (np.sort(labelled, axis=1) == np.eye(1, labels.shape[1])[:, ::-1]).all())


def _number_classes(path: Path, labels: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return labels as indices of the values that occur in any split, and the values as class names.

    Raises:
        ValueError: 1 is the only value besides -1, which means unlabelled.
    """
    wide = [found.shape[1] for found in labels.values() if found.ndim == 2]
    if wide:
        return labels, [str(number) for number in range(max(wide))]
    values = np.unique(np.concatenate(list(labels.values())))
    if values.tolist() == [-1, 1]:
        raise ValueError("the labels are -1 and 1, and -1 means unlabelled; number the two classes 0 and 1")
    values = values[values >= 0]
    if len(values) and values[-1] >= len(values):
        _log_numbers(path, tuple(values.tolist()))
    numbered = {
        part: np.where(found < 0, found, np.searchsorted(values, found)) for part, found in labels.items()
    }
    return numbered, [str(value) for value in values.tolist()]


def _check_numbers(labels: dict[str, np.ndarray], count: int) -> None:
    highest = max((int(found.max(initial=-1)) for found in labels.values()), default=-1)
    if highest >= count:
        raise ValueError(
            f"labels reach {highest} for {count} names in 'classes': number them 0 to {count - 1}, "
            "or leave 'classes' out, and the values that occur are numbered in order"
        )


@cache
def _log_numbers(path: Path, values: Sequence[int]) -> None:
    """Log once per file how labels are mapped to class indices."""
    listed = ", ".join(f"{value} as {index}" for index, value in enumerate(values[:NAMED]))
    more = f" and {len(values) - NAMED} more" if len(values) > NAMED else ""
    print_log(f"{path}: the labels that occur are numbered from 0: {listed}{more}", logger="current")
