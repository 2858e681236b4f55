"""The memory format channels_last."""

import torch
from torch import nn

SMALLEST = 8
"""Channels in a vector register of a CPU with AVX2."""


def to_channels_last(model: nn.Module) -> None:
    """Convert the weights to channels_last, unless a strided 1 x 1 convolution has fewer than 8 channels.

    For those, oneDNN (with PyTorch 2.15) writes beyond its buffers on CPUs with AVX2 and without AVX-512.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.in_channels < SMALLEST
        ):
            return
    model.to(memory_format=torch.channels_last)
