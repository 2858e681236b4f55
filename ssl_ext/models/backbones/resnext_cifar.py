"""ResNeXt for small images."""

from mmpretrain.models.backbones import ResNeXt
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR

from ssl_ext.registry import MODELS


@MODELS.register_module()
class ResNeXt_CIFAR(ResNet_CIFAR, ResNeXt):
    """MMPretrain's ResNeXt with the stem of its ``ResNet_CIFAR``: a 3×3 convolution, no pooling.

    Stem and forward pass are ``ResNet_CIFAR``'s, the grouped stages ``ResNeXt``'s.

    Args:
        depth: 50, 101 or 152.
        **kwargs: Arguments of both, such as ``groups`` (default 32) and ``width_per_group`` (default 4).
    """
