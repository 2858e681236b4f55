"""A backbone with its preprocessing: from images of any form to features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from ssl_ext.datasets.decode import Reading, read_image, upright
from ssl_ext.datasets.file_dataset import image_pixels
from ssl_ext.datasets.image_files import files_like
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import evaluation_mode
from ssl_ext.evaluation.identity import dataset_name
from ssl_ext.files import shown
from ssl_ext.models.evaluated import EvaluatedModel

from .formats import architecture_words
from .safetensors_file import architecture_of

ImageLike: TypeAlias = "str | os.PathLike | Image.Image | np.ndarray"
Images: TypeAlias = "ImageLike | Tensor | Sequence[ImageLike]"
CHANNELS = {1: "grey", 3: "RGB"}
PROBE = 64  # pixels


class Embedder(nn.Module):
    """Pooled features (N, D) of images, prepared as in training and evaluation.

    Images are an array (N, H, W, C) or (N, H, W), a tensor (N, C, H, W), or a list of PIL images, paths or
    arrays (H, W, C) or (H, W); all uint8. Grey and RGB are converted to the network's channels. Images of
    another size than ``image_size`` are resized (shorter side) and cropped to it (centre).

    Args:
        network: The model.
        method: Name of its training.
        source: File of the weights.
        dataset: Config of the training images, or its ``type``, ``name`` and options of reading files.
        image_size: Height and width of the training images; None: images are not resized.
        epoch: Epochs of the training.
    """

    def __init__(
        self,
        network: EvaluatedModel,
        method: str,
        *,
        source: Path,
        dataset: Mapping[str, Any] | None = None,
        image_size: tuple[int, int] | None = None,
        epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.network, self.method, self.source, self.epoch = network, method, source, epoch
        self.dataset, self.image_size = dataset or {}, image_size
        self.mean, self.std = network.model.normalization or ((), ())
        self.channels = len(self.mean) or 3
        probe = torch.zeros(1, self.channels, *(image_size or (PROBE, PROBE)), dtype=torch.uint8)
        with user_errors("image_size" if image_size else f"'{shown(source)}' (give image_size)"):
            self.width = self(probe).shape[1]
        self.eval()

    @property
    def backbone(self) -> nn.Module:
        """The network from normalised images to feature maps."""
        return self.network.model.backbone

    def forward(self, images: Images, batch_size: int = 256) -> Tensor:
        """Features (N, D) of uint8 images, float32 on the CPU, without gradients.

        Raises:
            UserError: Images of another form or type, a file that cannot be read, or no image.
        """
        with evaluation_mode(self.network):
            found = [self.network.embed(batch).cpu() for batch in self._batches(images, batch_size)]
        return torch.cat(found)

    def prepare(self, images: Images) -> Tensor:
        """The same images as uint8 (N, C, H, W), with the channels and the size of the training images."""
        (found,) = self._batches(images, None)
        return found

    def _batches(self, images: Images, size: int | None) -> Iterator[Tensor]:
        if isinstance(images, np.ndarray):
            images = _as_tensor(images)
        elif not isinstance(images, Tensor | Sequence) or isinstance(images, str):
            images = [images]
        if not len(images):
            raise UserError("No images are given.")
        if isinstance(images, Tensor) and (images.dim() != 4 or images.dtype != torch.uint8):
            raise UserError(
                f"The tensor has shape {tuple(images.shape)} and type {images.dtype}; give uint8 images "
                "(N, channels, height, width), or a NumPy array (N, height, width, channels)."
            )
        for start in range(0, len(images), size or len(images)):
            part = images[start : start + size] if size else images
            yield self._whole(part) if isinstance(part, Tensor) else self._single(part)

    def _whole(self, images: Tensor) -> Tensor:
        """Prepare uint8 images (N, any channels, any H, any W)."""
        channels = images.shape[1]
        if channels == self.channels:
            pass
        elif (channels, self.channels) == (1, 3):
            images = images.expand(-1, 3, -1, -1)
        elif (channels, self.channels) == (3, 1):
            images = rgb_to_grayscale(images)
        else:
            raise UserError(
                f"The images have {channels} channels, and the network takes {self.channels}; arrays are "
                "(N, height, width, channels), tensors (N, channels, height, width)."
            )
        if self.image_size in (None, tuple(images.shape[2:])):
            return images
        return self._reader().cut(images, 0)

    def _single(self, images: Sequence[ImageLike]) -> Tensor:
        """Prepare images one by one."""
        cut: Callable[[Image.Image], Tensor] = self._reader().prepare if self.image_size else image_pixels
        given = {key: self.dataset[key] for key in ("intensity", "frame") if key in self.dataset}
        with user_errors(f"'{shown(self.source)}'"):
            reading = Reading(self.channels, **given)
        found = [cut(_opened(image, reading)) for image in images]
        if len(sizes := {tuple(image.shape[1:]) for image in found}) > 1:
            raise UserError(f"The images have {len(sizes)} sizes: load with image_size, to resize them.")
        return torch.stack(found)

    def _reader(self) -> Any:
        assert self.image_size is not None
        height, width = self.image_size
        if height != width:
            raise UserError(f"Images are cut to squares, but the network takes {height} x {width} pixels.")
        with user_errors(f"'{shown(self.source)}'"):
            return files_like(self.dataset, image_size=height, channels=self.channels)

    def _apply(self, fn: Callable, recurse: bool = True) -> Embedder:
        """Move the module, and set the device of MMEngine's preprocessor."""
        super()._apply(fn, recurse)
        self.network.model._set_device(next(self.network.parameters()).device)
        return self

    def __repr__(self) -> str:
        trained = f"{dataset_name(self.dataset)}" if self.dataset else "unknown images"
        size = "any size" if self.image_size is None else "{} x {} px".format(*self.image_size)
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        numbers = (" ".join(f"{value:.4g}" for value in values) or "none" for values in (self.mean, self.std))
        return "\n".join(
            (
                f"{self.method} from {shown(self.source)}",
                f"  network   {architecture_words(architecture_of(self.backbone))}, {self.width} features",
                f"  trained   on {trained}{epoch}",
                f"  images    {size}, {CHANNELS.get(self.channels, self.channels)}, "
                "mean {}, std {}".format(*numbers),
            )
        )


def _as_tensor(images: np.ndarray) -> Tensor:
    """A view of an array (N, H, W, C) or (N, H, W) as a tensor (N, C, H, W)."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise UserError(
            f"The array has shape {images.shape} and type {images.dtype}; give uint8 images "
            "(N, height, width, channels), or grey ones (N, height, width)."
        )
    images = images if images.ndim == 4 else images[..., None]
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def _opened(image: ImageLike, reading: Reading) -> Image.Image:
    """Decode a path, or convert an image, to 8 bits and the given number of channels."""
    with user_errors("images"):
        if isinstance(image, str | os.PathLike):
            return read_image(Path(image).expanduser(), reading)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8:
                raise UserError(f"An array of the list has type {image.dtype}; give uint8.")
            image = Image.fromarray(image.squeeze(-1) if image.shape[2:] == (1,) else image)
        if not isinstance(image, Image.Image):
            raise UserError(f"{type(image).__name__} is not an image: give PIL images, paths or arrays.")
        return upright(image, reading)
