"""The twelve 2D sets of MedMNIST v2."""

import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torchvision.datasets.utils import calculate_md5

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import (
    check_split,
    damaged_file,
    downloading,
    file_md5,
    missing_file,
    npz_array,
    npz_names,
)
from ssl_ext.datasets.groups import read_npz_groups
from ssl_ext.registry import DATASETS

SPLITS = ("train", "val", "test")
SIZES = (28, 64, 128, 224)
TASKS = {
    "multi-class": "multi-class",
    "binary-class": "binary",
    "ordinal-regression": "ordinal",
    "multi-label, binary-class": "multi-label",
}


@DATASETS.register_module()
class MedMNIST(ArrayDataset):
    """One 2D set of MedMNIST v2, read from ``{name}.npz`` or ``{name}_{size}.npz``.

    The task and the class names are those of the ``medmnist`` package. A file whose MD5 differs from
    the official one is read with a warning; it may hold ``train_groups``, ``val_groups`` and
    ``test_groups``, the names or numbers of the images' patients, lesions or slides.

    Args:
        name: lower case, such as ``'pathmnist'``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_root: folder of the ``.npz`` files.
        as_rgb: True: 3 channels, grey images repeated; False: 1 channel, only for grey sets.
            Required, because the network's stem and its results depend on it.
        size: height and width, 28, 64, 128 or 224 pixels.
        group: arrays ``train_{group}``, … that hold the groups; None: ``'groups'``, if there are such arrays.
        download: fetch the official file unless it exists. An existing file with another checksum is
            renamed to ``….npz.bak``.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no file and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown or 3D name, unknown size or split, ``as_rgb=False`` on a colour set,
            damaged file.

    Reference: Yang et al., MedMNIST v2, Scientific Data 2023.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_root: str = "data/medmnist",
        *,
        as_rgb: bool,
        size: int = 28,
        group: str | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        info = _info(name)
        check_split(split, SPLITS, f"MedMNIST {name}")
        if size not in SIZES:
            raise ValueError(f"dataset.size of MedMNIST must be one of {SIZES}, got {size!r}")
        grey = info["n_channels"] == 1
        if not grey and not as_rgb:
            raise ValueError(
                f"{name} has colour images, so as_rgb=False is not possible: set dataset.as_rgb=True"
            )
        path = _locate(Path(data_root).expanduser(), name, size, info, download)
        images, labels = _read(path, split)
        groups = read_npz_groups(path, npz_names(path), split, SPLITS, group)
        shape = (size, size) if grey else (size, size, 3)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise damaged_file(
                path,
                f"{split}_images should be uint8 of shape (N, {', '.join(map(str, shape))}), "
                f"got {images.dtype} {images.shape}",
            )
        if grey:
            tensor = torch.from_numpy(images)[:, None]
            # A view: the three channels share memory.
            tensor = tensor.expand(-1, 3, -1, -1) if as_rgb else tensor
        else:
            tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        task = TASKS[info["task"]]
        if task != "multi-label" and labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        try:
            super().__init__(
                tensor,
                labels,
                classes=[info["label"][key] for key in sorted(info["label"], key=int)],
                task=task,
                device=device,
                available_splits=SPLITS,
                split=split,
                groups=groups,
            )
        except (TypeError, ValueError) as error:
            raise damaged_file(path, error) from error
        self.source_files = ((path, info[f"MD5{_suffix(size)}"]),)


def _suffix(size: int) -> str:
    return "" if size == 28 else f"_{size}"


def _info(name: str) -> dict[str, Any]:
    from medmnist import INFO

    flat = [key for key, value in INFO.items() if not key.endswith("3d")]
    if name in flat:
        return INFO[name]
    reason = "is a 3D set; only the 2D sets are supported" if name in INFO else "is unknown"
    raise ValueError(f"MedMNIST {name!r} {reason}: {', '.join(flat)} (config key: dataset.name)")


def _locate(root: Path, name: str, size: int, info: dict[str, Any], download: bool) -> Path:
    suffix = _suffix(size)
    path = root / f"{name}{suffix}.npz"
    url, md5 = info[f"url{suffix}"], info[f"MD5{suffix}"]
    by_hand = f"fetch {url} (MD5 {md5}) and save it as {os.path.abspath(path)}"
    if download and not (path.is_file() and calculate_md5(path) == md5):
        with downloading(root, f"MedMNIST {name}", url, by_hand):
            # Another process may have downloaded it while this one waited for the lock.
            if not (path.is_file() and calculate_md5(path) == md5):
                _download(path, info["python_class"], size, md5)
    if not path.is_file():
        raise missing_file(path, f"MedMNIST {name}", by_hand)
    stat = path.stat()
    _warn_unless_official(path, md5, stat.st_size, stat.st_mtime_ns)
    return path


def _download(path: Path, python_class: str, size: int, md5: str) -> None:
    import medmnist

    # Download to a temporary folder, so that an incomplete file replaces nothing.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        getattr(medmnist, python_class)(split="val", root=folder, size=size, download=True)
        fetched = Path(folder) / path.name
        found = calculate_md5(fetched)
        if found != md5:
            raise OSError(f"the MD5 of {path.name} is {found} instead of {md5}")
        if path.exists():
            os.replace(path, path.with_name(f"{path.name}.bak"))
        os.replace(fetched, path)


@cache
def _warn_unless_official(path: Path, md5: str, size: int, modified: int) -> None:
    """Warn once per file version if its MD5 differs from the official one."""
    del size, modified  # only part of the cache's key
    if file_md5(path) != md5:
        print_log(
            f"{path} is not the official file (MD5 differs from {md5}): "
            "figures from it are not comparable with published ones",
            logger="current",
            level=logging.WARNING,
        )


def _read(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    names = npz_names(path)
    for name in (f"{split}_images", f"{split}_labels"):
        if name not in names:
            raise damaged_file(path, f"no array {name!r}, only {', '.join(names)}")
    return npz_array(path, f"{split}_images"), npz_array(path, f"{split}_labels")
