"""Whether data set, preprocessor and network of a config fit together."""

from __future__ import annotations

import warnings

from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.errors import UserError, user_errors
from ssl_ext.models.selfsup.base import TrainableModel

IMAGENET_STEM_MIN = 64


def check_batches(config: Config, loader: DataLoader, model: TrainableModel) -> None:
    """Check that data set, preprocessor and network fit together.

    Raises:
        UserError: Too few images for one batch, a batch of one, or numbers of views or channels that
            differ.
    """
    info = getattr(loader.dataset, "metainfo", {})
    batch_size = config.train_dataloader.get("batch_size", 1)
    try:
        model.check_batch_size(batch_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    if len(loader) == 0:
        raise UserError(
            f"The training split has {len(loader.dataset)} images, less than one batch of {batch_size}: "
            "lower train_dataloader.batch_size."
        )
    left = len(loader.sampler) % batch_size
    if 0 < left < model.smallest_batch and not loader.drop_last:
        raise UserError(
            f"The last batch of an epoch would hold {'a single image' if left == 1 else f'{left} images'} "
            f"({len(loader.sampler)} images in batches of {batch_size}): set train_dataloader.drop_last=True "
            "or another batch_size."
        )
    wanted, drawn = model.num_views, model.drawn_views
    if wanted and drawn is not None and drawn != wanted:
        raise UserError(
            f"{type(model).__name__} compares {wanted} views of an image and the config's views give "
            f"{drawn}: change views[].repeats."
        )
    with user_errors("train_dataloader.dataset"):
        model.check_dataset(loader.dataset)
    channels = info.get("channels")
    expected = len(model.normalization[0]) if model.normalization else channels
    if channels and channels != expected:
        raise UserError(
            f"The data set has {channels} channels and data_preprocessor.mean has {expected} values: "
            "give one mean and std per channel, or load the images with as_rgb=True."
        )
    stem = next((m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is not None and channels and stem.in_channels != channels:
        raise UserError(
            f"The data set has {channels} channels and the backbone takes {stem.in_channels}: set "
            "model.backbone.in_channels, or load the images with as_rgb=True."
        )
    image_size = info.get("image_size")
    if stem is not None and image_size is not None:
        side = image_size if isinstance(image_size, int) else max(image_size)
        if side <= IMAGENET_STEM_MIN and stem.kernel_size[0] == 7:
            warnings.warn(
                f"Images of {side} px meet an ImageNet stem (7x7 convolution, stride 2, max pooling): "
                "faster, but model.backbone.type='ResNet_CIFAR' usually scores several points higher.",
                stacklevel=2,
            )
