"""CIFAR-10 and CIFAR-100."""

import os
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import check_integrity

from ssl_ext.datasets.archives import download_and_extract_archive
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split, downloading, verify_files
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test")


@DATASETS.register_module()
class CIFAR10(ArrayDataset):
    """CIFAR-10: 50,000 train and 10,000 test images of 32 × 32 pixels, 10 classes.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``cifar-10-batches-py``.
        download: fetch and unpack the archive unless it exists.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no files and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, or a file whose checksum differs from the official one.
    """

    source = torchvision.datasets.CIFAR10

    def __init__(
        self,
        split: str,
        data_root: str = "data/cifar10",
        *,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        name = type(self).__name__
        check_split(split, SPLITS, name)
        root, source = Path(data_root).expanduser(), self.source
        folder = root / source.base_folder
        files = [*source.train_list, *source.test_list]
        files.append((source.meta["filename"], source.meta["md5"]))
        by_hand = f"unpack {source.url} so that {os.path.abspath(folder)} exists"
        if download:
            with downloading(root, name, source.url, by_hand):
                if not all(check_integrity(folder / file, md5) for file, md5 in files):
                    download_and_extract_archive(
                        source.url, root, filename=source.filename, md5=source.tgz_md5
                    )
        verify_files(folder, files, name, by_hand)
        # The files are pickles, which can run code. torchvision unpickles them only after comparing
        # every MD5 with the official one; verify_files did the same for a clear message.
        data = source(root, train=split == "train")
        super().__init__(
            np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)),
            data.targets,
            classes=data.classes,
            device=device,
            available_splits=SPLITS,
            split=split,
        )
        self.source_files = [(folder / name, md5) for name, md5 in files]


@DATASETS.register_module()
class CIFAR100(CIFAR10):
    """CIFAR-100: splits and image size of CIFAR-10, 100 fine classes; arguments and errors as in CIFAR10."""

    source = torchvision.datasets.CIFAR100

    def __init__(
        self,
        split: str,
        data_root: str = "data/cifar100",
        *,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(split, data_root, download=download, device=device)
