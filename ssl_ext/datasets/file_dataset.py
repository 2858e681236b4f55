"""Image files decoded on access."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2.functional import center_crop, pad, resize, resized_crop

from ssl_ext.datasets.decode import Reading, check_image_size, read_image, warn_of_dark
from ssl_ext.datasets.files import damaged_file
from ssl_ext.datasets.intensity import Intensity
from ssl_ext.datasets.paths import Paths
from ssl_ext.datasets.sampler import drawn_for
from ssl_ext.files import shown

BICUBIC = InterpolationMode.BICUBIC


class FileDataset(Dataset):
    """Image files with one label each, decoded by the loader's workers and cut to one size.

    Args:
        image_size: height and width of the returned images, in pixels.
        crop: ``'center'``: resize the shorter side to ``image_size``, then crop the centre;
            ``'pad'``: resize the longer side to ``image_size``, then pad the other one with black;
            ``'random'``: random resized crop with an aspect ratio in [3/4, 4/3], drawn on each
            access from torch's generator.
        scale: range of the random crop's area as a fraction of the image, 0 < low ≤ high ≤ 1.
        channels: 3 for RGB, 1 for grey.
        intensity: the grey values of 16-bit images and DICOM files that become 0 and 255. ``'window'``: the
            file's own VOI lookup table or window, if it has one, else ``'full'``: the range of its bits;
            ``'minmax'``: its lowest and highest value; ``'percentile'``: its percentiles 0.5 and 99.5;
            ``(low, high)``: these values, for DICOM files after the modality table or rescaling (Hounsfield
            units of CT). 8-bit images are not scaled.
        frame: frame of DICOM files, counted from 0, or ``'middle'``.

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
        intensity: Intensity = "window",
        frame: int | str = "middle",
    ) -> None:
        check_crop(crop, ("center", "pad", "random"))
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"dataset.scale must satisfy 0 < low <= high <= 1, got {scale}")
        check_image_size(image_size)
        self.reading = Reading(channels, intensity, frame)
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
        warn_of_dark(self.files, self.reading)
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
            return image_pixels(read_image(self.files[index], self.reading))
        except FileNotFoundError as error:
            raise damaged_file(self.files[index], "was removed after the data set was built") from error

    def cut(self, pixels: Tensor, index: int) -> Tensor:
        """Resize and crop a decoded image to (C, image_size, image_size)."""
        size = [self.image_size, self.image_size]
        if self.crop == "center":
            return center_crop(resize(pixels, [self.image_size], BICUBIC), size)
        if self.crop == "pad":
            height, width = pixels.shape[1:]
            inside, border = padding(height, width, self.image_size)
            return pad(resize(pixels, inside, BICUBIC), border)
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


def check_crop(crop: str, allowed: Sequence[str]) -> None:
    """Raise ValueError unless the crop is one of those allowed."""
    if crop not in allowed:
        raise ValueError(f"dataset.crop must be one of {', '.join(map(repr, allowed))}, got {crop!r}")


def padding(height: int, width: int, size: int) -> tuple[list[int], list[int]]:
    """Size of an image whose longer side is ``size``, and pixels to add left, above, right and below.

    >>> padding(10, 40, 8)
    ([2, 8], [0, 3, 0, 3])
    """
    inside = [max(1, round(size * side / max(height, width))) for side in (height, width)]
    above, left = ((size - side) // 2 for side in inside)
    return inside, [left, above, size - inside[1] - left, size - inside[0] - above]


def image_pixels(image: Image.Image) -> Tensor:
    """Pixels of a PIL image, uint8 (C, H, W), channels last in memory.

    torch resizes channels-last uint8 several times as fast as Pillow.
    """
    return torch.from_numpy(np.array(image).reshape(image.height, image.width, -1)).permute(2, 0, 1)
