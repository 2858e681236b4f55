"""ResNeXt for small images."""

from mmpretrain.models.backbones import ResNeXt
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR

from ssl_ext.registry import MODELS


@MODELS.register_module()
class ResNeXt_CIFAR(ResNet_CIFAR, ResNeXt):
    """MMPretrain's ResNeXt with the stem of its ``ResNet_CIFAR``: a 3×3 convolution, no pooling.

    The first gives the stem and the forward pass, the second the grouped stages.

    Args:
        depth: 50, 101 or 152.
        **kwargs: As for both, ``groups`` (32) and ``width_per_group`` (4) among them.
    """
