"""Several views per image, with the fastest implementation for device, size and batch."""

import torch
from torch import Tensor

from ssl_ext.augment.base import shape_of
from ssl_ext.augment.fused import fused_views, has_triton, is_fusible
from ssl_ext.augment.planes import check_images
from ssl_ext.augment.sequence import AugmentationSequence

JOINT = 1 << 17
"""Number of pixels of all views up to which the CPU draws them together; more do not fit into the cache."""


@torch.no_grad()
def draw_views(
    sequence: AugmentationSequence, images: Tensor, count: int = 1, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Return ``count`` float32 views (N, C, H', W') of images (N, C, H, W), with separate draws per image.

    Implementations (for the same draws they differ by less than 1/255, apart from equalisation's rounding to
    levels):

    - CUDA, uint8, sides of at most 32 pixels: one kernel for the leading members it supports, batched
      operations for the others;
    - other accelerators and sizes: batched operations over all views;
    - CPU: batched operations over all views for small batches, view by view for large ones.

    Draws: the CPU draws view by view, so ``count`` calls of ``sequence(images, generator)`` give the same
    views. An accelerator draws one tensor of uniform numbers (draws of all members, count N) with the rows of
    each member in order; column v N + i belongs to view v of image i. A CPU generator gives the same
    parameters on every device. There are no host syncs.

    Raises TypeError for another dtype and ValueError for a shape that a member cannot take.
    """
    check_images(images)
    shape = shape_of(images)
    out_shape = sequence.output_shape(shape)
    # A generator made for "cuda" has no index, which tensors have.
    on_device = generator is None or generator.device.type == images.device.type
    if images.is_cuda and on_device and has_triton() and is_fusible(sequence, images, out_shape):
        draws = sum(member.draws for member in sequence)
        numbers = torch.rand((draws, count * len(images)), generator=generator, device=images.device)
        views = fused_views(sequence, images, numbers)
    elif images.is_cpu and (count == 1 or count * images[:, 0].numel() > JOINT):
        return [sequence(images, generator) for _ in range(count)]
    else:
        params = sequence.draw(shape, generator=generator, device=images.device, views=count)
        views = sequence.transform(images.repeat(count, 1, 1, 1), params)
    return list(views.view(count, len(images), *out_shape[1:]).unbind())
