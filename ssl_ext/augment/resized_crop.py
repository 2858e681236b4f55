"""Batched random resized crop as matrix products, antialiased as in torchvision."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_ext.augment.base import Augmentation, Params, Shape
from ssl_ext.augment.planes import matmul_planes
from ssl_ext.augment.sampling import check_range, check_size, spread, whole

TRIES = 10
# From this side length on, products with mostly zero matrices cost more than one call per image.
LARGE = 128
# Up to this number of pixels of a batch, fewer operations matter more than memory traffic.
FEW = 1 << 16


class RandomResizedCrop(Augmentation):
    """Crop a random part of each image and resize it to ``size`` (bilinear, antialiased).

    Images (N, C, H, W) become (N, C, *size); without a size they keep (H, W). ``scale`` bounds the
    share of the area, ``ratio`` the aspect ratio width / height, drawn uniformly in its logarithm.
    As in torchvision up to ten sizes are drawn; if none fits, the largest central crop with an allowed
    ratio is used.

    Parameters drawn: ``top``, ``left``, ``height``, ``width`` (N,), int64, in pixels. ``transform``
    also takes ``flip`` (N,), a bool mask of samples to mirror, at no cost.

    Raises ValueError for a size, scale or ratio out of range.

    >>> RandomResizedCrop(8, scale=(0.2, 1.0))(torch.rand(4, 3, 32, 48)).shape
    torch.Size([4, 3, 8, 8])
    """

    draws = 2 * TRIES + 2

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__()
        self.size = None if size is None else check_size("RandomResizedCrop.size", size)
        self.scale = check_range("RandomResizedCrop.scale", scale, 0.0, 1.0)
        self.ratio = check_range("RandomResizedCrop.ratio", ratio, 0.0)
        if self.ratio[0] == 0:
            raise ValueError(f"RandomResizedCrop.ratio must be larger than 0, got {ratio}")

    def output_shape(self, shape: Shape) -> Shape:
        """Return (N, C, *size), or ``shape`` without a size."""
        return shape if self.size is None else (shape[0], shape[1], *self.size)

    def _params(self, numbers: Tensor, shape: Shape) -> Params:
        height, width = shape[2:]
        area = spread(numbers[:TRIES], *self.scale) * (height * width)
        log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = spread(numbers[TRIES : 2 * TRIES], *log_ratio).exp_()
        sizes = torch.stack((area / aspect, area * aspect)).sqrt_().round_().long()
        fits = (sizes[0] <= height) & (sizes[1] <= width) & (sizes > 0).all(0)
        # argmax is the first size that fits, or 0 if none fits.
        first = fits.int().argmax(0, keepdim=True)
        none_fits = ~fits.any(0)
        h, w = (
            torch.where(none_fits, central, tried.gather(0, first).squeeze(0))
            for tried, central in zip(sizes, self._central_size(height, width), strict=True)
        )
        top, left = whole(numbers[-2], height - h + 1), whole(numbers[-1], width - w + 1)
        return {
            "top": torch.where(none_fits, (height - h) // 2, top),
            "left": torch.where(none_fits, (width - w) // 2, left),
            "height": h,
            "width": w,
        }

    def _transform_planes(self, planes: Tensor, params: Params) -> Tensor:
        height, width = self.size or planes.shape[2:]
        if planes.is_cpu and min(planes.shape[2:]) >= LARGE:
            return crop_one_by_one(planes, params, (height, width))
        top, left, flip = params["top"], params["left"], params.get("flip")
        square = planes.shape[2] == planes.shape[3] and height == width
        if square and (not planes.is_cpu or planes[0].numel() <= FEW):
            # Both axes at once: half as many operations.
            starts, lengths = torch.cat((top, left)), torch.cat((params["height"], params["width"]))
            both = None if flip is None else torch.cat((torch.zeros_like(flip), flip))
            rows, columns = resize_matrix(starts, lengths, planes.shape[2], height, flip=both).chunk(2)
        else:
            rows = resize_matrix(top, params["height"], planes.shape[2], height)
            columns = resize_matrix(left, params["width"], planes.shape[3], width, flip=flip)
        return matmul_planes(rows, planes, columns)

    def _central_size(self, height: int, width: int) -> tuple[int, int]:
        if width / height < self.ratio[0]:
            return round(width / self.ratio[0]), width
        if width / height > self.ratio[1]:
            return height, round(height * self.ratio[1])
        return height, width


def crop_one_by_one(planes: Tensor, params: Params, size: tuple[int, int]) -> Tensor:
    """Crop, resize and mirror the samples of planes (C, N, H, W) one by one with ``interpolate``."""
    boxes = torch.stack([params[name] for name in ("top", "left", "height", "width")], 1).tolist()
    flips = params["flip"].tolist() if "flip" in params else [False] * len(boxes)
    result = planes.new_empty((*planes.shape[:2], *size))
    for sample, ((top, left, height, width), flip) in enumerate(zip(boxes, flips, strict=True)):
        part = planes[:, sample : sample + 1, top : top + height, left : left + width].transpose(0, 1)
        resized = F.interpolate(part, size=size, mode="bilinear", antialias=True)[0]
        result[:, sample] = resized.flip(2) if flip else resized
    return result


def resize_matrix(
    start: Tensor, length: Tensor, in_size: int, out_size: int, *, flip: Tensor | None = None
) -> Tensor:
    """Return matrices (N, out_size, in_size) that crop and resize one axis of each sample.

    Row o holds the weights of the input pixels for output pixel o: a triangle around the centre of
    o in the crop, as wide as one output pixel but at least one input pixel (the antialiasing of
    ``torch.nn.functional.interpolate``), cut at the edges of the crop and normalised to sum 1.
    ``start`` and ``length`` (N,) are the crop in pixels; rows are reversed where ``flip`` (N,).

    >>> resize_matrix(torch.tensor([0]), torch.tensor([4]), 4, 2)
    tensor([[[0.4286, 0.4286, 0.1429, 0.0000],
             [0.0000, 0.1429, 0.4286, 0.4286]]])
    """
    scale = (length / out_size).unsqueeze(1)
    output = torch.arange(out_size, device=start.device) + 0.5
    if flip is not None:
        output = torch.where(flip.unsqueeze(1), out_size - output, output)
    centre = start.unsqueeze(1) + scale * output
    pixel = torch.arange(in_size, device=start.device)
    end = (start + length).unsqueeze(1)
    inside = ((pixel >= start.unsqueeze(1)) & (pixel < end)).float().unsqueeze(1)
    distance = centre.unsqueeze(2) - (pixel + 0.5)
    distance = distance.abs_().div_(scale.clamp(min=1).unsqueeze(2)).clamp_(max=1)
    weights = torch.addcmul(inside, distance, inside, value=-1)
    return weights.div_(weights.sum(2, keepdim=True))
