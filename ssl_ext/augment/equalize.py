"""Histogram equalisation of the luma, all samples at once."""

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.luma import color_offsets, luma
from ssl_ext.augment.sampling import check_probability

LEVELS = 256


class RandomEqualize(Augmentation):
    """Equalise the histogram of the luma of each image with probability ``p``.

    RGB images are converted to YCbCr, Y is equalised, and they are converted back; a single channel, or three
    equal channels, are equalised directly. The operation is Pillow's ``ImageOps.equalize`` on 8 bits, so
    changed images are rounded to 256 levels. Images with fewer than 255 pixels below their lightest level are
    not changed.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p outside [0, 1] and for images
    without 1 or 3 channels.

    >>> ramp = torch.arange(1024).div(1023).mul(0.25).view(1, 1, 32, 32)
    >>> RandomEqualize(p=1.0)(ramp).amax()
    tensor(1.)
    """

    channels = (1, 3)

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability("RandomEqualize.p", p)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        return on_active(lambda x, _: _equalize(x), planes, params)


def _equalize(planes: Tensor) -> Tensor:
    levels = planes.mul_(LEVELS - 1).round_().clamp_(0, LEVELS - 1)
    if len(levels) == 1:
        levels.copy_(equalize_levels(levels[0].int()))
    else:
        y, offsets = equalize_levels(luma(levels)), color_offsets(levels)
        for plane, offset in zip(levels, offsets, strict=True):
            torch.add(y, offset, out=plane)
        levels.clamp_(0, LEVELS - 1)
    return levels.div_(LEVELS - 1)


def equalize_levels(levels: Tensor) -> Tensor:
    """Equalise each sample's histogram of int32 levels (N, H, W) in 0 … 255; returns float32 levels."""
    samples = torch.arange(len(levels), dtype=torch.int32, device=levels.device).view(-1, 1)
    # One histogram for the whole batch: sample n uses the bins 256 n to 256 n + 255.
    bins = (levels.flatten(1) + LEVELS * samples).flatten()
    return equalizing_tables(_counts(bins, len(levels))).flatten().index_select(0, bins).view_as(levels)


def equalizing_tables(histogram: Tensor) -> Tensor:
    """Return lookup tables (N, 256), float32, from old to new levels, for histograms (N, 256) of counts.

    The new level is the number of darker pixels divided by ``step``, a 255th of all pixels except those of
    the lightest level. If ``step`` is below one pixel, levels do not change.
    """
    upto = histogram.cumsum(1)
    below_lightest = torch.where(upto < upto[:, -1:], upto, 0).amax(1, keepdim=True)
    step = below_lightest.div(LEVELS - 1, rounding_mode="floor")
    darker = upto - histogram
    moved = (darker + step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=LEVELS - 1)
    same = torch.arange(LEVELS, device=histogram.device)
    return torch.where(step > 0, moved, same).float()


def _counts(bins: Tensor, samples: int) -> Tensor:
    size = LEVELS * samples
    if bins.is_cpu:
        return torch.bincount(bins, minlength=size).view(samples, LEVELS)
    # On other devices bincount would sync to find the largest index.
    counts = torch.zeros(size, dtype=torch.int32, device=bins.device)
    return counts.scatter_add_(0, bins.long(), torch.ones_like(bins)).view(samples, LEVELS)
