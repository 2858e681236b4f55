"""MNIST, FashionMNIST and KMNIST."""

import os
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

from ssl_ext.datasets.archives import download_and_extract_archive
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split, damaged_file, downloading, missing_file
from ssl_ext.datasets.grey import grey_images
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test")
PREFIXES = dict(train="train", test="t10k")


@DATASETS.register_module()
class MNIST(ArrayDataset):
    """MNIST: 60,000 train and 10,000 test images of grey handwritten digits, 28 × 28 pixels.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``MNIST/raw`` (the name of the class), as for torchvision.
        as_rgb: True: 3 equal channels; False: 1 channel. Required, because the network's stem and
            its results depend on it.
        image_size: height and width in pixels, at least 28, enlarged bicubically; None: 28.
        download: fetch and unpack the four archives unless the files exist.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, image size below 28, damaged file.
    """

    source = torchvision.datasets.MNIST

    def __init__(
        self,
        split: str,
        data_root: str = "data",
        *,
        as_rgb: bool,
        image_size: int | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        name = type(self).__name__
        check_split(split, SPLITS, name)
        folder = Path(data_root).expanduser() / name / "raw"
        images, labels = (
            folder / f"{PREFIXES[split]}-{part}-ubyte" for part in ("images-idx3", "labels-idx1")
        )
        url = self.source.mirrors[0]
        files = f"{images.name}.gz and {labels.name}.gz"
        by_hand = f"put {files} of {url} into {os.path.abspath(folder)} and unpack them"
        if download and not (images.is_file() and labels.is_file()):
            with downloading(folder, name, url, by_hand):
                _fetch(self.source, folder)
        for path in (images, labels):
            if not path.is_file():
                raise missing_file(path, name, by_hand)
        super().__init__(
            grey_images(
                _read(images, (28, 28)), image_size=image_size, channels=3 if as_rgb else 1, dataset=name
            ),
            _read(labels, ()),
            classes=self.source.classes,
            device=device,
            available_splits=SPLITS,
            split=split,
        )
        # MD5s are published for the packed files only.
        self.source_files = [(images, None), (labels, None)]


@DATASETS.register_module()
class FashionMNIST(MNIST):
    """FashionMNIST: articles of clothing in MNIST's format; see MNIST for arguments and errors."""

    source = torchvision.datasets.FashionMNIST


@DATASETS.register_module()
class KMNIST(MNIST):
    """KMNIST: cursive Japanese characters in MNIST's format; see MNIST for arguments and errors."""

    source = torchvision.datasets.KMNIST


def _fetch(source: type[torchvision.datasets.MNIST], folder: Path) -> None:
    """Download and unpack all archives, each from the first mirror that has it."""
    for name, md5 in source.resources:
        errors: list[Exception] = []
        for mirror in source.mirrors:
            try:
                download_and_extract_archive(mirror + name, str(folder), filename=name, md5=md5)
                break
            except (OSError, RuntimeError) as error:
                errors.append(error)
        else:
            raise errors[0]


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read an IDX file of uint8 entries of the given shape; raise a ValueError if it is damaged."""
    try:
        found = (read_image_file if shape else read_label_file)(str(path))
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise damaged_file(path, f"not a complete IDX file of bytes; unpack it again ({error!r})") from error
    if found.shape[1:] != shape:
        raise damaged_file(path, f"should hold images of {shape} pixels, got {tuple(found.shape[1:])}")
    return found
