"""Saliency maps: from centre-surround differences, or from gradients of a loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Half sides of the surrounds in pixels, as in OpenCV's fine-grained saliency.
SURROUNDS = (12, 24, 48, 28, 56, 112)
LUMA = (0.299, 0.587, 0.114)


def fine_grained_saliency(images: Tensor) -> Tensor:
    """Absolute difference of each pixel from its surround (Montabone and Soto, 2010).

    As in OpenCV's ``StaticSaliencyFineGrained``, which SaliencyMix uses: |smoothed grey image − mean of a
    square surround|, summed over surrounds of six sizes, each clipped at the border and without the pixel
    itself. (OpenCV rounds every step to 8 bits, which removes small differences, and normalises the
    brighter and the darker parts by their own maxima. Without the rounding, this would amplify noise, so
    the maps are not normalised here.)

    Args:
        images: (N, C, H, W), floating point, any range.

    Returns:
        (N, H, W), float32, ≥ 0; 0 everywhere for a constant image.
    """
    grey = _grey(images.detach().float())
    saliency = torch.zeros_like(grey)
    places = [torch.arange(side, device=grey.device) for side in grey.shape[1:]]
    for reach in SURROUNDS:
        rows, columns = (((place[:, None] - place).abs() <= reach).to(grey) for place in places)
        count = rows.sum(1)[:, None] * columns.sum(1)
        surround = (rows @ grey @ columns - grey) / (count - 1).clamp(min=1)
        saliency += (grey - surround).abs()
    return saliency


def gradient_saliency(images: Tensor, loss_fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Gradient magnitude of a loss at every pixel: root mean square over the channels.

    No ``.grad`` is modified. Other side effects of the forward pass, such as running statistics, are left
    to the caller.

    Args:
        images: (N, C, H, W), floating point.
        loss_fn: Maps images to a scalar loss.

    Returns:
        (N, H, W), float32, without gradient.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_fn(leaf), leaf)
    return gradient.float().square().mean(1).sqrt()


def _grey(images: Tensor) -> Tensor:
    """Luminance of three channels, else the channel mean, (N, H, W), centred and smoothed twice."""
    if images.shape[1] == len(LUMA):
        grey = (images * images.new_tensor(LUMA).view(1, -1, 1, 1)).sum(1, keepdim=True)
    else:
        grey = images.mean(1, keepdim=True)
    # Centring makes a constant image exactly 0.
    grey = grey - grey.mean((2, 3), keepdim=True)
    # Binomial filter [1 2 1], twice; replicate padding also works for an image of one row.
    line = grey.new_tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line[None]).view(1, 1, 3, 3)
    for _ in range(2):
        grey = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)
    return grey.squeeze(1)
