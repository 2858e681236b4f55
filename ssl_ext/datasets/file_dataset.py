"""Image files decoded on access."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2.functional import center_crop, resize, resized_crop

from ssl_ext.datasets.decode import check_image_options, read_image
from ssl_ext.datasets.files import damaged_file
from ssl_ext.datasets.paths import Paths
from ssl_ext.datasets.sampler import drawn_for
from ssl_ext.files import shown

BICUBIC = InterpolationMode.BICUBIC


class FileDataset(Dataset):
    """Image files with one label each, decoded by the loader's workers and cut to one size.

    Args:
        image_size: height and width of the returned images, in pixels.
        crop: ``'center'``: resize the shorter side to ``image_size``, then crop the centre;
            ``'random'``: random resized crop with an aspect ratio in [3/4, 4/3], drawn on each
            access from torch's generator.
        scale: range of the random crop's area as a fraction of the image, 0 < low ≤ high ≤ 1.
        channels: 3 for RGB, 1 for grey.

    Images are resized with torch's antialiased bicubic filter, which equals Pillow's up to one grey level.

    Raises:
        ValueError: option out of range; on access: a damaged file, named in the message.
    """

    def __init__(
        self,
        *,
        image_size: int,
        crop: str = "center",
        scale: tuple[float, float] = (0.2, 1.0),
        channels: int = 3,
    ) -> None:
        if crop not in ("center", "random"):
            raise ValueError(f"dataset.crop must be 'center' or 'random', got {crop!r}")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"dataset.scale must satisfy 0 < low <= high <= 1, got {scale}")
        check_image_options(channels, image_size)
        self.image_size, self.crop, self.scale, self.channels = image_size, crop, scale, channels

    @property
    def draws(self) -> bool:
        """True if reading an image draws random numbers."""
        return self.crop == "random"

    def set_files(
        self,
        files: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        *,
        classes: Sequence[str],
        split: str,
        available_splits: Sequence[str],
    ) -> None:
        """Set files, labels and metadata; subclasses call it once, in their constructor.

        Args:
            files: paths.
            labels: index into ``classes`` per file, −1 for unlabelled.
            classes: class names; empty for an unlabelled set.
            split: name of this split.
            available_splits: names of all splits of the source.
        """
        self.files = files if isinstance(files, Paths) else Paths.of(files)
        self.available_splits = tuple(available_splits)
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.classes = tuple(map(shown, classes)) or None
        self.num_classes = len(classes)
        self.task = "multi-class"
        self.metainfo = {
            "classes": self.classes,
            "task": self.task,
            "num_classes": self.num_classes,
            "channels": self.channels,
            "image_size": (self.image_size, self.image_size),
            "split": split,
        }

    # Names of the images' patients, lesions or slides (N,): see ArrayDataset.
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> Tensor:
        """Decode a whole image, uint8 (C, H, W).

        Raises:
            ValueError: the file is missing or damaged.
        """
        try:
            return image_pixels(read_image(self.files[index], self.channels))
        except FileNotFoundError as error:
            raise damaged_file(self.files[index], "was removed after the data set was built") from error

    def cut(self, pixels: Tensor, index: int) -> Tensor:
        """Resize and crop a decoded image to (C, image_size, image_size)."""
        size = [self.image_size, self.image_size]
        if self.crop == "center":
            return center_crop(resize(pixels, [self.image_size], BICUBIC), size)
        with drawn_for(index):
            box = RandomResizedCrop.get_params(pixels, list(self.scale), [3 / 4, 4 / 3])
        return resized_crop(pixels, *box, size, BICUBIC)

    def prepare(self, image: Image.Image) -> Tensor:
        """Resize and crop a decoded PIL image: uint8 (channels, image_size, image_size)."""
        return self.cut(image_pixels(image), 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample: inputs (C, image_size, image_size) uint8, labels (), indices ().

        Raises:
            ValueError: the file is missing or damaged.
        """
        return {
            "inputs": self.cut(self.pixels(index), index).contiguous(),
            "labels": self.labels[index],
            "indices": torch.tensor(index % len(self)),
        }


def image_pixels(image: Image.Image) -> Tensor:
    """Pixels of a PIL image, uint8 (C, H, W), channels last in memory.

    torch resizes channels-last uint8 several times as fast as Pillow.
    """
    return torch.from_numpy(np.array(image).reshape(image.height, image.width, -1)).permute(2, 0, 1)
