"""Which pixels matter: against their surround, or to a loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Half sides of the surrounds in pixels, those of OpenCV's fine-grained saliency.
SURROUNDS = (12, 24, 48, 28, 56, 112)
LUMA = (0.299, 0.587, 0.114)


def fine_grained_saliency(images: Tensor) -> Tensor:
    """How much each pixel differs from its surround (Montabone and Soto, 2010), on both sides.

    As in OpenCV's ``StaticSaliencyFineGrained``, which SaliencyMix uses: |smoothed grey image − mean of a
    square surround|, summed over surrounds of six sizes, each cut at the border and without the pixel
    itself. (OpenCV rounds every step to 8 bits, which hides small differences, and then divides what is
    brighter and what is darker by its own maximum: without the rounding that would make noise as salient as
    an object, so both keep their units here.)

    Args:
        images: (N, C, H, W), floating point, in any units.

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
    """Length of the gradient of a loss at every pixel, root of its mean square over the channels.

    No gradient is left in any ``.grad``. What a forward pass changes besides (running statistics) is the
    caller's matter.

    Args:
        images: (N, C, H, W), floating point.
        loss_fn: From images to a scalar, through a network.

    Returns:
        (N, H, W), float32, without gradient.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_fn(leaf), leaf)
    return gradient.float().square().mean(1).sqrt()


def _grey(images: Tensor) -> Tensor:
    """Luminance of three channels, else the mean over channels, (N, H, W), smoothed twice."""
    if images.shape[1] == len(LUMA):
        grey = (images * images.new_tensor(LUMA).view(1, -1, 1, 1)).sum(1, keepdim=True)
    else:
        grey = images.mean(1, keepdim=True)
    # Without the mean a constant image is exactly 0.
    grey = grey - grey.mean((2, 3), keepdim=True)
    # Twice 1 2 1 in both directions; replicated, not reflected: an image may have one row.
    line = grey.new_tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line[None]).view(1, 1, 3, 3)
    for _ in range(2):
        grey = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)
    return grey.squeeze(1)
