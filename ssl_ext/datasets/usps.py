"""USPS."""

from pathlib import Path

import torch
import torchvision

from ssl_ext.datasets.archives import require_file
from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split
from ssl_ext.datasets.grey import grey_images
from ssl_ext.registry import DATASETS

SPLITS = ("train", "test")


@DATASETS.register_module()
class USPS(ArrayDataset):
    """USPS: 7,291 train and 2,007 test images of grey handwritten digits, 16 × 16 pixels.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``usps.bz2`` and ``usps.t.bz2``.
        as_rgb: True: 3 equal channels; False: 1 channel. Required, because the network's stem and
            its results depend on it.
        image_size: height and width in pixels, at least 16, enlarged bicubically; None: 16.
        download: fetch the file of the split unless it exists.
        device: see ArrayDataset.

    Raises:
        FileNotFoundError: no file and ``download=False``.
        ConnectionError: the download failed.
        ValueError: unknown split, image size below 16, or a file whose checksum differs from the
            official one.
    """

    def __init__(
        self,
        split: str,
        data_root: str = "data/usps",
        *,
        as_rgb: bool,
        image_size: int | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        check_split(split, SPLITS, "USPS")
        source, root = torchvision.datasets.USPS, Path(data_root).expanduser()
        require_file(source.split_list[split], root, "USPS", download)
        data = source(root, train=split == "train")
        super().__init__(
            grey_images(
                torch.from_numpy(data.data),
                image_size=image_size,
                channels=3 if as_rgb else 1,
                dataset="USPS",
            ),
            data.targets,
            classes=[str(digit) for digit in range(10)],
            device=device,
            available_splits=SPLITS,
            split=split,
        )
        _, name, md5 = source.split_list[split]
        self.source_files = [(root / name, md5)]
