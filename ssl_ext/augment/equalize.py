"""Histogram equalisation of the luma, all samples at once."""

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.luma import color_offsets, luma
from ssl_ext.augment.sampling import check_probability

LEVELS = 256


class RandomEqualize(Augmentation):
    """Equalise the histogram of the luma of each image with probability ``p``.

    Images of 3 channels go from RGB to YCbCr, Y is equalised, and back; 1 channel, or 3 that are equal, are
    equalised directly. The operation is Pillow's ``ImageOps.equalize``, on 8 bits: the images it changes are
    rounded to 256 levels. It changes no image with fewer than 255 pixels below its lightest level.

    Parameters drawn: ``active`` (N,), bool. Raises ValueError for p outside [0, 1] and for images of other
    than 1 or 3 channels.

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
    """Return levels (N, H, W), float32, of int32 ones in 0 … 255, each sample's histogram equalised."""
    samples = torch.arange(len(levels), dtype=torch.int32, device=levels.device).view(-1, 1)
    # Sample n counts in the bins 256 n to 256 n + 255: one histogram for the whole batch.
    bins = (levels.flatten(1) + LEVELS * samples).flatten()
    return equalizing_tables(_counts(bins, len(levels))).flatten().index_select(0, bins).view_as(levels)


def equalizing_tables(histogram: Tensor) -> Tensor:
    """Return, for histograms (N, 256) of counts, the new level of every level (N, 256), as float32.

    A level moves up by one for every ``step`` pixels that are darker, with steps of a 255th of all pixels but
    those of the lightest level. Less than one pixel a step leaves every level where it is.
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
    # Elsewhere bincount would wait for the largest index, to know the size of its result.
    counts = torch.zeros(size, dtype=torch.int32, device=bins.device)
    return counts.scatter_add_(0, bins.long(), torch.ones_like(bins)).view(samples, LEVELS)
