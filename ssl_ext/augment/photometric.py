"""Grayscale, solarisation and normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.color import grayscale
from ssl_ext.augment.sampling import check_probability


class RandomGrayscale(Augmentation):
    """Replace all channels by the luminance with probability ``p``; 1 channel is not changed.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p outside [0, 1].

    >>> RandomGrayscale(p=1.0)(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """

    channels = (1, 3)

    draws = 1

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = check_probability("RandomGrayscale.p", p)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        if planes.shape[0] == 1:
            return planes
        return on_active(lambda x, _: x.copy_(grayscale(x)), planes, params)


class RandomSolarize(Augmentation):
    """Invert the pixels of at least ``threshold``, in [0, 1], with probability ``p``.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p or threshold outside [0, 1].

    >>> RandomSolarize(threshold=0.5, p=1.0)(torch.tensor([[[[0.25, 0.75]]]]))
    tensor([[[[0.2500, 0.2500]]]])
    """

    draws = 1

    def __init__(self, threshold: float = 0.5, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(
                f"RandomSolarize.threshold must be within [0, 1] (images are in [0, 1]), got {threshold}"
            )
        self.threshold = float(threshold)
        self.p = check_probability("RandomSolarize.p", p)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        return on_active(lambda x, _: torch.where(x >= self.threshold, 1 - x, x), planes, params)


def check_mean_std(mean: Sequence[float], std: Sequence[float], key: str = "Normalize") -> None:
    """Check the means and standard deviations of images in [0, 1].

    Raises:
        ValueError: They differ in length, or are out of range; ``key`` is named.
    """
    if len(mean) != len(std) or not len(mean):
        raise ValueError(f"{key}: mean has {len(mean)} channels and std has {len(std)}.")
    if not all(0 <= m <= 1 for m in mean) or not all(0 < s <= 1 for s in std):
        raise ValueError(
            f"{key}: mean={list(mean)}, std={list(std)} must be in the units of images in [0, 1] "
            "(means from 0 to 1, standard deviations above 0 up to 1)."
        )


class Normalize(Augmentation):
    """Subtract ``mean`` and divide by ``std``, per channel, in units of images in [0, 1].

    A single value applies to all channels. Raises ValueError if the values are out of range, if the lengths
    differ, or if they do not match the channels of the images.

    >>> Normalize(mean=[0.5], std=[0.25])(torch.ones(1, 3, 1, 1)).flatten()
    tensor([2., 2., 2.])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_mean_std(mean, std)
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

    def output_shape(self, shape: Shape) -> Shape:
        """Return ``shape``; ValueError if the channels do not match the values."""
        if self.mean.shape[0] not in (1, shape[1]):
            raise ValueError(
                f"Normalize has {self.mean.shape[0]} means, images have {shape[1]} channels: "
                "give one value or one per channel"
            )
        return shape

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        mean = self.mean.to(planes.device, non_blocking=True)
        std = self.std.to(planes.device, non_blocking=True)
        return planes.sub_(mean).div_(std)


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)
