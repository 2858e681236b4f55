"""SVHN."""

from pathlib import Path

import torch
import torchvision

from ssl_ext.datasets.archives import require_file
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test", "extra")


@DATASETS.register_module()
class SVHN(ArrayDataset):
    """SVHN, cropped house numbers: 73,257 train, 26,032 test and 531,131 extra images of 32 × 32 pixels.

    Class *i* is the digit *i* (the files label the digit 0 as 10). ``'extra'`` holds easier labelled
    images and takes 1.6 GB of memory.

    Args:
        split: ``'train'``, ``'test'`` or ``'extra'``.
        data_root: folder that holds ``train_32x32.mat`` and the other splits' files.
        download: fetch the file of the split unless it exists.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no file and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, or a file whose checksum differs from the official one.
    """

    def __init__(
        self,
        split: str,
        data_root: str = "data/svhn",
        *,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        check_split(split, SPLITS, "SVHN")
        source, root = torchvision.datasets.SVHN, Path(data_root).expanduser()
        require_file(source.split_list[split], root, "SVHN", download)
        data = source(root, split=split)
        super().__init__(
            data.data,
            data.labels,
            classes=[str(digit) for digit in range(10)],
            device=device,
            available_splits=SPLITS,
            split=split,
        )
        _, name, md5 = source.split_list[split]
        self.source_files = [(root / name, md5)]
