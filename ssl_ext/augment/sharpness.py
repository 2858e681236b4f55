"""Random sharpness: blend each image with a smoothed copy."""

import torch
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape, on_active
from ssl_ext.augment.sampling import check_probability, check_range, spread

WEIGHT = 13
"""Sum of the smoothing kernel [1 1 1; 1 5 1; 1 1 1]."""


class RandomSharpness(Augmentation):
    """Sharpen, or smooth, each image by a factor uniform in ``factor``, with probability ``p``.

    The result is smoothed + factor (image - smoothed), clamped to [0, 1]: 1 does not change the image, 0
    smooths it, more than 1 sharpens it. The kernel is [1 1 1; 1 5 1; 1 1 1] / 13. As in torchvision and
    Pillow the outermost pixels do not change, so images with a side below 3 pixels do not change at all.

    Parameters drawn: ``active`` (N,), bool; ``factor`` (N,). Raises ValueError for a negative factor, a
    decreasing pair, or p outside [0, 1].

    >>> dot = torch.zeros(1, 1, 3, 3).index_fill(2, torch.tensor([1]), 0.25)
    >>> RandomSharpness(factor=(0.0, 0.0))(dot)[0, 0, 1]
    tensor([0.2500, 0.1346, 0.2500])
    """

    draws = 2

    def __init__(self, factor: tuple[float, float] = (1.0, 10.0), p: float = 1.0) -> None:
        super().__init__()
        self.factor = check_range("RandomSharpness.factor", factor, 0.0)
        self.p = check_probability("RandomSharpness.p", p)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        return {"active": numbers[0] < self.p, "factor": spread(numbers[1], *self.factor)}

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        if min(planes.shape[2:]) < 3:
            return planes
        return on_active(lambda x, own: sharpness_(x, own["factor"]), planes, params)


def sharpness_(planes: Tensor, factor: Tensor) -> Tensor:
    """Blend planes (C, N, H, W), at least 3 x 3, with smoothed copies, in place; factor is (N,)."""
    # The kernel is a 3 x 3 box plus 4 in the centre, so the blend adds share · (box sum - 9 image).
    share = ((1 - factor) / WEIGHT).view(-1, 1, 1)
    box = _box_sums(planes)
    inner = planes[..., 1:-1, 1:-1]
    inner.mul_(1 - 9 * share).addcmul_(box[..., 1:-1, 1:-1], share)
    return planes.clamp_(0, 1)


def _box_sums(planes: Tensor) -> Tensor:
    """Return the sums over 3 x 3 pixels around every inner pixel; border values are arbitrary."""
    # Shifting flat memory gives longer vectors than slicing images. Shifts cross the ends of rows and images,
    # which only affects sums around border pixels.
    width, flat = planes.shape[3], planes.flatten()
    rows = flat[:-2] + flat[1:-1]
    rows += flat[2:]
    box = torch.empty_like(flat)
    inside = box[width + 1 : -width - 1]
    torch.add(rows[: -2 * width], rows[width:-width], out=inside).add_(rows[2 * width :])
    return box.view_as(planes)
