"""The memory format channels_last, and narrow convolutions for which it is not safe.

In channels_last, oneDNN writes beyond its buffers in strided 1 x 1 convolutions of fewer than 8 channels (a
vector register), on CPUs with AVX2 and without AVX-512 (PyTorch 2.15).
"""

import torch
from torch import Tensor, nn

SMALLEST = 8


def to_channels_last(model: nn.Module) -> None:
    """Convert the weights to channels_last, unless the model has a narrow convolution."""
    if not any(map(_is_narrow, model.modules())):
        model.to(memory_format=torch.channels_last)


def protect_narrow(model: nn.Module) -> None:
    """Have narrow convolutions copy images in channels_last, as data sets may deliver them."""
    for module in filter(_is_narrow, model.modules()):
        module.register_forward_pre_hook(_contiguous)


def _is_narrow(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < SMALLEST
    )


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (images,) = inputs
    if images.is_contiguous(memory_format=torch.channels_last):
        # With one channel contiguous() would change nothing.
        images = images.clone(memory_format=torch.contiguous_format)
    return (images,)
