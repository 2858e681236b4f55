"""Networks of torchvision and timm that match exported backbones."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from .extras import needed

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEMS = ("imagenet", "cifar")


def torchvision_resnet(
    depth: int,
    *,
    stem: str = "imagenet",
    in_channels: int = 3,
    stem_channels: int = 64,
    base_channels: int = 64,
    groups: int = 1,
    width_per_group: int = 64,
) -> nn.Module:
    """Build torchvision's ResNet without its classifier: images (N, C, H, W) to features (N, D).

    >>> net = torchvision_resnet(18, stem="cifar")
    >>> net.conv1.kernel_size, type(net.maxpool).__name__
    ((3, 3), 'Identity')

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: ``'imagenet'`` (7×7, stride 2, pooling) or ``'cifar'`` (3×3, stride 1, no pooling).
        in_channels: Channels of the images.
        stem_channels: Width of the stem.
        base_channels: Width of the first stage; doubled in each further stage.
        groups: Groups of a ResNeXt's 3×3 convolutions.
        width_per_group: Channels per group of a ResNeXt's first stage.

    Raises:
        ValueError: Unknown depth or stem.
    """
    _check(depth, stem)
    block = BasicBlock if depth < 50 else Bottleneck
    net = torchvision.models.ResNet(
        block, list(BLOCKS[depth]), num_classes=1, groups=groups, width_per_group=width_per_group
    )
    if (stem_channels, base_channels) != (64, 64):
        # torchvision's constructor has fixed widths, so the stages are rebuilt.
        net.inplanes, net.bn1 = stem_channels, nn.BatchNorm2d(stem_channels)
        for index, blocks in enumerate(BLOCKS[depth]):
            stage = net._make_layer(block, base_channels * 2**index, blocks, stride=min(index + 1, 2))
            setattr(net, f"layer{index + 1}", stage)
    net.fc = nn.Identity()
    _set_stem(net, stem, in_channels, stem_channels)
    return net


def timm_resnet(
    depth: int,
    *,
    stem: str = "imagenet",
    in_channels: int = 3,
    stem_channels: int = 64,
    base_channels: int = 64,
    groups: int = 1,
    width_per_group: int = 64,
) -> nn.Module:
    """Build timm's ResNet without its classifier: images (N, C, H, W) to features (N, D).

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: ``'imagenet'`` (7×7, stride 2, pooling) or ``'cifar'`` (3×3, stride 1, no pooling).
        in_channels: Channels of the images.
        stem_channels: Width of the stem.
        base_channels: Width of the first stage; doubled in each further stage.
        groups: Groups of a ResNeXt's 3×3 convolutions.
        width_per_group: Channels per group of a ResNeXt's first stage.

    Raises:
        ValueError: Unknown depth or stem.
        UserError: timm is not installed.
    """
    _check(depth, stem)
    resnet: ModuleType = needed("timm.models.resnet", "timm")
    settings: dict[str, Any] = dict(cardinality=groups, base_width=width_per_group)
    block = resnet.BasicBlock if depth < 50 else resnet.Bottleneck
    net = resnet.ResNet(
        block,
        BLOCKS[depth],
        num_classes=0,
        in_chans=in_channels,
        channels=tuple(base_channels * 2**index for index in range(4)),
        **settings,
    )
    if stem_channels != 64:
        # timm's constructor has a stem of 64 channels.
        width, net.bn1 = base_channels * block.expansion, nn.BatchNorm2d(stem_channels)
        shortcut = None if width == stem_channels else resnet.downsample_conv(stem_channels, width, 1)
        net.layer1[0] = block(stem_channels, base_channels, downsample=shortcut, **settings)
    _set_stem(net, stem, in_channels, stem_channels)
    return net


def _check(depth: int, stem: str) -> None:
    if depth not in BLOCKS:
        raise ValueError(f"depth is {depth}; allowed are {', '.join(map(str, BLOCKS))}.")
    if stem not in STEMS:
        raise ValueError(f"stem is {stem!r}; allowed are {', '.join(STEMS)}.")


def _set_stem(net: Any, stem: str, in_channels: int, stem_channels: int) -> None:
    if stem == "cifar":
        net.conv1 = nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif net.conv1.weight.shape[:2] != (stem_channels, in_channels):
        net.conv1 = nn.Conv2d(in_channels, stem_channels, 7, stride=2, padding=3, bias=False)
