"""Preprocessing of images and boxes for detection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torchvision.models.detection.transform import resize_boxes
from torchvision.transforms.v2 import functional

from ssl_ext.augment.photometric import check_mean_std
from ssl_ext.registry import MODELS


@MODELS.register_module()
class DetectionPreprocessor(BaseDataPreprocessor):
    """Resize images to a given short side, flip them randomly in training, normalise and pad to a batch.

    Resizing is antialiased. Padding, on the right and at the bottom, is zero after normalisation.

    Args:
        mean: Channel means of images in [0, 1], in the order of ``channel_order``.
        std: Channel standard deviations of images in [0, 1], in (0, 1].
        short_sides: Short sides in pixels, one of which is drawn per image in training.
        test_short_side: Short side in pixels in evaluation.
        max_size: Largest long side in pixels; limits the short side if needed.
        flip: Probability of a horizontal flip in training.
        channel_order: Channel order of the backbone, ``'rgb'`` or ``'bgr'``. Input images are RGB.
        size_divisible: Height and width of the batch are multiples of this.

    Raises:
        ValueError: A setting is out of range, or mean and std differ in length.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        short_sides: Sequence[int] = (800,),
        test_short_side: int = 800,
        max_size: int = 1333,
        flip: float = 0.5,
        channel_order: str = "rgb",
        size_divisible: int = 32,
    ) -> None:
        super().__init__(non_blocking=True)
        key = "model.data_preprocessor"
        check_mean_std(mean, std, key)
        sides = [*short_sides, test_short_side, max_size, size_divisible]
        if not short_sides or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(
                f"{key}: short_sides={list(short_sides)}, test_short_side={test_short_side}, "
                f"max_size={max_size}, size_divisible={size_divisible}: whole numbers of pixels above 0 are "
                "needed."
            )
        if not 0 <= flip <= 1:
            raise ValueError(f"{key}.flip is {flip}; a probability from 0 to 1 is needed.")
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f"{key}.channel_order is {channel_order!r}; allowed are 'rgb' and 'bgr'.")
        self.mean, self.std = tuple(mean), tuple(std)
        self.short_sides = tuple(short_sides)
        self.test_short_side = test_short_side
        self.max_size = max_size
        self.flip = flip
        self.channel_order = channel_order
        self.size_divisible = size_divisible

    def resized(self, size: tuple[int, int], short_side: int) -> tuple[int, int]:
        """Return the resized (H, W) of an image of ``size`` for a short side, limited by ``max_size``.

        >>> DetectionPreprocessor([0.5], [0.5]).resized((480, 640), 240)
        (240, 320)
        """
        scale = min(short_side / min(size), self.max_size / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess one batch.

        Args:
            data: ``inputs``, a list of uint8 images (C, H, W), and optionally ``data_samples``, a list of
                dicts whose ``boxes`` (M, 4) are x1, y1, x2, y2 in pixels of these images.
            training: Draw a random short side and flip per image.

        Returns:
            ``inputs``, a float32 batch (N, C, H, W), and ``data_samples`` with ``boxes`` in pixels of the
            batch, ``size`` (H, W) of the original image and ``resized_size`` (H, W) without padding.

        Raises:
            ValueError: The number of channels of an image and of ``mean`` differ.
        """
        data = self.cast_data(dict(data))
        images, samples = data["inputs"], data.get("data_samples") or [{} for _ in data["inputs"]]
        done = [self._one(image, sample, training) for image, sample in zip(images, samples, strict=True)]
        sizes = [sample["resized_size"] for _, sample in done]
        height, width = (
            math.ceil(max(side) / self.size_divisible) * self.size_divisible
            for side in zip(*sizes, strict=True)
        )
        batch = torch.zeros(len(done), len(self.mean), height, width, device=images[0].device)
        mean, std = (torch.tensor(v, device=batch.device).view(-1, 1, 1) for v in (self.mean, self.std))
        for row, (image, _) in zip(batch, done, strict=True):
            row[:, : image.shape[1], : image.shape[2]] = (image / 255 - mean) / std
        return dict(inputs=batch, data_samples=[sample for _, sample in done])

    def _one(self, image: Tensor, sample: dict, training: bool) -> tuple[Tensor, dict]:
        if image.shape[0] != len(self.mean):
            raise ValueError(
                f"An image of shape {tuple(image.shape)} reached a preprocessor for {len(self.mean)} "
                "channels: model.data_preprocessor.mean and std must have one value per channel."
            )
        size = (image.shape[1], image.shape[2])
        side = self.test_short_side
        if training:
            side = self.short_sides[int(torch.randint(len(self.short_sides), ()))]
        resized = self.resized(size, side)
        image = functional.resize(image, list(resized), antialias=True)
        mirrored = training and bool(torch.rand(()) < self.flip)
        if mirrored:
            image = image.flip(-1)
        if self.channel_order == "bgr":
            image = image.flip(0)
        sample = dict(sample, size=size, resized_size=resized)
        if "boxes" in sample:
            boxes = resize_boxes(sample["boxes"], list(size), list(resized))
            if mirrored:
                left, top, right, bottom = boxes.unbind(1)
                boxes = torch.stack((resized[1] - right, top, resized[1] - left, bottom), 1)
            sample["boxes"] = boxes
        return image, sample
