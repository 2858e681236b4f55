"""From a uint8 batch to K augmented, normalised views on the model's device."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from ssl_ext import augment
from ssl_ext.augment.photometric import check_mean_std
from ssl_ext.registry import AUGMENTATIONS, MODELS

for _name in augment.__all__:
    _class = getattr(augment, _name)
    if isinstance(_class, type) and issubclass(_class, nn.Module):
        AUGMENTATIONS.register_module(name=_name, module=_class)


def build_augmentation(
    transforms: Sequence[dict], type: str = "AugmentationSequence"
) -> augment.AugmentationSequence:
    """Build a batched augmentation sequence, registered as ``type``, from config dicts."""
    modules = [AUGMENTATIONS.build(copy.deepcopy(dict(transform))) for transform in transforms]
    return AUGMENTATIONS.build(dict(type=type, transforms=modules))


@MODELS.register_module()
class MultiViewPreprocessor(BaseDataPreprocessor):
    """Copy a uint8 batch to the device and draw K normalised views of it.

    Random numbers come from torch's global generator of the device. The seed of process r is
    ``seed + r``, so the views depend only on the seed, the number of processes and the device type.
    :func:`ssl_ext.augment.draw_views` chooses the fastest implementation for device, size and batch.

    Args:
        mean: Channel means in the units of images in [0, 1].
        std: Channel standard deviations in the same units, each above 0.
        views: One dict per kind of view: ``transforms`` (list of augmentation configs), ``repeats``
            (number of views, default 1) and ``type`` (registered sequence class, default
            ``AugmentationSequence``). Without views only clean images are returned.
        non_blocking: Copy to the device asynchronously (needs pinned memory).

    Raises:
        ValueError: mean and std of different length or out of range, repeats below 1.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        views: Sequence[dict] = (),
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        check_mean_std(mean, std, "data_preprocessor")
        self.mean, self.std = tuple(mean), tuple(std)
        self.normalize = augment.Normalize(self.mean, self.std)
        self.views = nn.ModuleList()
        self.repeats: list[int] = []
        for index, view in enumerate(views):
            settings = dict(view)
            repeats = settings.pop("repeats", 1)
            if not isinstance(repeats, int) or repeats < 1:
                raise ValueError(f"views[{index}].repeats is {repeats!r}; it must be at least 1.")
            if "transforms" not in settings or set(settings) - {"type", "transforms"}:
                raise ValueError(
                    f"views[{index}] has the keys {sorted(view)}; allowed are transforms (required), "
                    "repeats and type."
                )
            self.views.append(build_augmentation(**settings))
            self.repeats.append(repeats)

    @property
    def num_views(self) -> int:
        """Number of views of a training batch."""
        return sum(self.repeats)

    def draw_views(
        self, images: Tensor, generator: torch.Generator | None = None, *, normalize: bool = False
    ) -> list[Tensor]:
        """Draw the views of a batch.

        Args:
            images: uint8 or float in [0, 1], (N, C, H, W).
            generator: Default is torch's global generator of the device.
            normalize: Subtract the mean and divide by the std.

        Returns:
            K float32 batches (N, C, H', W'), in [0, 1] unless normalised.
        """
        tail = [self.normalize] if normalize else []
        sequences = (augment.AugmentationSequence([view, *tail]) for view in self.views)
        return [
            drawn
            for sequence, repeats in zip(sequences, self.repeats, strict=True)
            for drawn in augment.draw_views(sequence, images, repeats, generator)
        ]

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess one batch.

        Args:
            data: ``inputs`` uint8 (N, C, H, W), and optionally ``labels`` and ``indices``.
            training: Draw views (True) or return the clean normalised images (False).

        Returns:
            ``inputs``: list of K views, or one tensor; ``data_samples``: the other entries.

        Raises:
            ValueError: The number of channels differs from that of ``mean``.
        """
        batch = self.cast_data(dict(data))
        images = batch.pop("inputs")
        if images.dim() != 4 or images.shape[1] != len(self.mean):
            raise ValueError(
                f"A batch of shape {tuple(images.shape)} reached a preprocessor for {len(self.mean)} "
                "channels: data_preprocessor.mean and std must have one value per channel."
            )
        inputs = self.draw_views(images, normalize=True) if training else self.normalize(images)
        return dict(inputs=inputs, data_samples=batch)
