"""Checks that a config's network, views and statistics fit the training images."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from ssl_ext.datasets.contents import channel_statistics
from ssl_ext.errors import UserError, user_errors
from ssl_ext.models.data_preprocessor import MultiViewPreprocessor
from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.models.utils.split_batch_norm import SplitBN

IMAGENET_STEM_MIN = 64
SMALL_STEM_MAX = 96
# Statistics on a sample of the images, and how far those of a config may differ from them.
SAMPLE = 64
MEAN_TOLERANCE, STD_RATIO = 0.15, 1.5
# [0, 1] to [-1, 1], a convention that is independent of the images.
SYMMETRIC = 0.5
VIEW_SHARE = 0.75


def check_channels(dataset: Any, model: TrainableModel) -> None:
    """Check the channels of images, normalisation and backbone.

    Raises:
        UserError: The numbers differ.
    """
    channels = getattr(dataset, "metainfo", {}).get("channels")
    expected = len(model.normalization[0]) if model.normalization else channels
    as_rgb = "channels=3" if hasattr(dataset, "files") else "as_rgb=True"
    if channels and channels != expected:
        raise UserError(
            f"The data set has {channels} channels and data_preprocessor.mean has {expected} values: "
            "give one mean and std per channel (and model.backbone.in_channels), or load the images with "
            f"{as_rgb}."
        )
    stem = _stem(model)
    if stem is not None and channels and stem.in_channels != channels:
        raise UserError(
            f"The data set has {channels} channels and the backbone takes {stem.in_channels}: set "
            f"model.backbone.in_channels={channels}, or load the images with {as_rgb}."
        )


def check_split_norms(batch_size: int, model: TrainableModel) -> None:
    """Check that batches can be normalised in equal parts.

    Raises:
        UserError: The batch size is not a multiple of the number of parts, or parts have one image.
    """
    with user_errors("model.backbone"):
        splits = max((part.own_splits() for part in model.modules() if isinstance(part, SplitBN)), default=1)
    if batch_size % splits or batch_size < 2 * splits > 2:
        raise UserError(
            f"train_dataloader.batch_size={batch_size}: batches are normalised in {splits} equal parts of "
            "two or more images (norm_cfg.num_splits): set "
            f"train_dataloader.batch_size={max(2 * splits, batch_size // splits * splits)}."
        )


def warn_of_misfits(config: Config, dataset: Any, model: TrainableModel) -> None:
    """Warn of a stem, views or channel statistics for other images, and name the key to set."""
    size = getattr(dataset, "metainfo", {}).get("image_size")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        _warn_of_stem(max(height, width), model)
        _warn_of_views(config, height, width, model)
    if model.normalization and isinstance(model.data_preprocessor, MultiViewPreprocessor):
        _warn_of_statistics(dataset, *model.normalization)


def _stem(model: TrainableModel) -> nn.Conv2d | None:
    return next((m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)), None)


def _warn_of_stem(side: int, model: TrainableModel) -> None:
    stem, kind = _stem(model), type(model.backbone).__name__
    if stem is None:
        return
    if side <= IMAGENET_STEM_MIN and stem.kernel_size[0] == 7:
        warnings.warn(
            f"Images of {side} px are used with an ImageNet stem (7x7 convolution, stride 2, max "
            "pooling): set model.backbone.type='ResNet_CIFAR', which is slower but usually several points "
            "more accurate.",
            stacklevel=2,
        )
    elif side > SMALL_STEM_MAX and kind.endswith("_CIFAR"):
        warnings.warn(
            f"Images of {side} px are used with a stem for small images (no pooling): set "
            f"model.backbone.type={kind.removesuffix('_CIFAR')!r}, which needs about a sixteenth of the time "
            "and memory.",
            stacklevel=2,
        )


def _warn_of_views(config: Config, height: int, width: int, model: TrainableModel) -> None:
    """Warn if every view is much smaller than the images, or larger."""
    if not isinstance(model.data_preprocessor, MultiViewPreprocessor):
        return
    views: Any = model.data_preprocessor.views
    outputs = [view.output_shape((1, 3, height, width))[2:] for view in views]
    misfit = [not VIEW_SHARE <= out[0] / height <= 1 for out in outputs]
    if not misfit or not all(misfit):
        return
    for number, view in enumerate(config.get("views") or ()):
        for place, transform in enumerate(view["transforms"]):
            if transform.get("size"):
                warnings.warn(
                    f"The views have {outputs[number][0]} px and the images {height} px: set "
                    f"views.{number}.transforms.{place}.size={height}.",
                    stacklevel=2,
                )
                return


def _warn_of_statistics(dataset: Any, mean: Any, std: Any) -> None:
    if set(mean) | set(std) == {SYMMETRIC}:
        return
    own_mean, own_std = channel_statistics(dataset, SAMPLE)
    given = torch.tensor([mean, std], dtype=torch.float64)
    own = torch.tensor([own_mean, own_std], dtype=torch.float64)
    ratio = (own[1].clamp(min=1e-3) / given[1]).log().abs().max().exp()
    if (own[0] - given[0]).abs().max() > MEAN_TOLERANCE or ratio > STD_RATIO:
        found = zip(("mean", "std"), (own_mean, own_std), strict=True)
        rounded = ", ".join(f"{name}={[round(x, 4) for x in values]}" for name, values in found)
        warnings.warn(
            f"The images are normalised with mean {list(mean)} and std {list(std)}, which are not theirs: "
            f"set data_preprocessor=dict({rounded}).",
            stacklevel=2,
        )
