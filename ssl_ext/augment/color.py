"""Colour arithmetic on planes (C, N, H, W): torchvision's adjustments with one factor per sample.

Every function ending in an underscore overwrites the planes it is given. Factors are (N,).
"""

import torch
from torch import Tensor

GRAY_WEIGHTS = (0.2989, 0.587, 0.114)
HUE_BLOCK = 1 << 16
TINY = 1e-20


def grayscale(planes: Tensor) -> Tensor:
    """Return the luminance (N, H, W); a single channel is returned as it is."""
    if planes.shape[0] == 1:
        return planes[0]
    red, green, blue = GRAY_WEIGHTS
    gray = planes[0] * red
    return gray.add_(planes[1], alpha=green).add_(planes[2], alpha=blue)


def mean_grayscale(planes: Tensor) -> Tensor:
    """Return the mean luminance (N,) of each image, from the means of its channels."""
    means = planes.mean((2, 3))
    if planes.shape[0] == 1:
        return means[0]
    red, green, blue = GRAY_WEIGHTS
    return means[0] * red + means[1] * green + means[2] * blue


def brightness_(planes: Tensor, factor: Tensor) -> Tensor:
    """Scale towards (factor < 1) or away from black."""
    return planes.mul_(factor.view(-1, 1, 1)).clamp_(0, 1)


def contrast_(planes: Tensor, factor: Tensor) -> Tensor:
    """Scale towards or away from the mean luminance of the image."""
    offset = mean_grayscale(planes) * (1 - factor)
    return planes.mul_(factor.view(-1, 1, 1)).add_(offset.view(-1, 1, 1)).clamp_(0, 1)


def saturation_(planes: Tensor, factor: Tensor) -> Tensor:
    """Scale towards or away from the luminance of each pixel."""
    offset = grayscale(planes).mul_((1 - factor).view(-1, 1, 1))
    return planes.mul_(factor.view(-1, 1, 1)).add_(offset).clamp_(0, 1)


def hue_(planes: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of planes (3, N, H, W) by ``shift`` (N,) turns, in [-0.5, 0.5].

    On the CPU samples are processed in blocks, so that the thirty passes over memory stay in cache.
    """
    samples = planes.shape[1]
    block = max(1, samples)
    if planes.is_cpu:
        block = max(1, HUE_BLOCK // max(1, planes.shape[2] * planes.shape[3]))
    for start in range(0, samples, block):
        _turn_hue_(planes[:, start : start + block], shift[start : start + block])
    return planes


def _turn_hue_(planes: Tensor, shift: Tensor) -> None:
    # Colours with the same smallest channel m and chroma c = largest - m lie on a hexagon; the hue
    # h is the position on it, in sextants. Ordering the channels gives h = |k + (middle - smallest)
    # / c| with k from the two comparisons of the ordering. Back from hue h: red = m + c clamp(|h -
    # 3| - 1, 0, 1), green and blue = m + c clamp(2 - |h - 2|, 0, 1) and |h - 4|. This equals the
    # conversion to HSV and back, without its slow six-way selection.
    red, green, blue = planes
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    middle, largest = torch.minimum(red, high), torch.maximum(red, high)
    smallest = torch.minimum(middle, low)
    chroma = largest.sub_(smallest)
    green_below_blue = green.lt_(blue)
    red_below = torch.lt(red, high, out=high)
    offset = torch.mul(green_below_blue, red_below, out=blue).mul_(12)
    offset.sub_(green_below_blue, alpha=6).sub_(red_below, alpha=2)
    numerator = middle.sub_(low)
    hue = torch.addcdiv(offset, numerator, torch.clamp(chroma, min=TINY, out=low), out=low).abs_()
    # Adding one turn keeps the sum positive, so that frac is the remainder modulo one turn.
    hue.div_(6).add_((shift + 1).view(-1, 1, 1)).frac_().mul_(6)
    base = torch.sub(smallest, chroma, out=middle)
    torch.sub(hue, 3, out=red).abs_().clamp_(1, 2).mul_(chroma).add_(base)
    base = torch.add(smallest, chroma, alpha=2, out=middle)
    for channel, centre in ((green, 2), (blue, 4)):
        distance = torch.sub(hue, centre, out=high).abs_().clamp_(1, 2)
        torch.addcmul(base, chroma, distance, value=-1, out=channel)
