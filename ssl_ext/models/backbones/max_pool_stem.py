"""ResNets with a small stem and pooling, for images of 64 and 96 px."""

from mmpretrain.models.backbones import ResNet, ResNeXt
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from torch import nn

from ssl_ext.registry import MODELS


@MODELS.register_module()
class ResNet_CIFAR_MaxPool(ResNet):
    """MMPretrain's ResNet with a stem of a 3×3 convolution and a 3×3 max-pooling of stride 2.

    Between ``ResNet_CIFAR``, which does not pool, and ``ResNet``, whose convolution of stride 2 comes first.

    Args:
        depth: 18, 34, 50, 101 or 152.
        **kwargs: Arguments of ``ResNet_CIFAR``.
    """

    def _make_stem_layer(self, in_channels: int, base_channels: int) -> None:
        ResNet_CIFAR._make_stem_layer(self, in_channels, base_channels)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


@MODELS.register_module()
class ResNeXt_CIFAR_MaxPool(ResNet_CIFAR_MaxPool, ResNeXt):
    """MMPretrain's ResNeXt with the stem of :class:`ResNet_CIFAR_MaxPool`.

    Args:
        depth: 50, 101 or 152.
        **kwargs: Arguments of ``ResNet_CIFAR`` and ``ResNeXt``.
    """
