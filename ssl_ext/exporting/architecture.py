"""Architecture of a ResNet backbone in library-independent terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from ssl_ext.errors import UserError
from ssl_ext.models.utils import SplitBN
from ssl_ext.registry import MODELS

STEMS = {"ResNet": "imagenet", "ResNeXt": "imagenet", "ResNet_CIFAR": "cifar"}
EPS = 1e-5
# Attributes of MMPretrain's ResNet with values that torchvision, timm and detectron2 assume.
FIXED = dict(num_stages=4, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), deep_stem=False, avg_down=False)


@dataclass(frozen=True)
class ResNetArchitecture:
    """Architecture of a ResNet or ResNeXt.

    ``stem`` is ``'imagenet'`` (7×7 with pooling) or ``'cifar'`` (3×3 without pooling). ``style`` is the
    position of a bottleneck's stride: the 3×3 convolution (``'pytorch'``) or the first 1×1 (``'caffe'``).
    """

    depth: int
    stem: str
    in_channels: int = 3
    stem_channels: int = 64
    base_channels: int = 64
    groups: int = 1
    width_per_group: int = 64
    style: str = "pytorch"

    @property
    def name(self) -> str:
        """Name of the network in torchvision and timm.

        >>> ResNetArchitecture(50, "imagenet", groups=32, width_per_group=4).name
        'resnext50_32x4d'
        """
        if self.groups == 1:
            return f"resnet{self.depth}"
        return f"resnext{self.depth}_{self.groups}x{self.width_per_group}d"

    @property
    def standard_width(self) -> bool:
        """True if stem and first stage have the standard 64 channels."""
        return self.stem_channels == self.base_channels == 64


def read_architecture(backbone: Any) -> ResNetArchitecture:
    """Read the architecture of a backbone.

    Raises:
        UserError: Not a ResNet, or one that differs from the standard in more than depth, stem, width and
            groups.
    """
    advice = "use --to safetensors or --to onnx"
    kind = type(backbone).__name__
    if type(backbone) not in map(MODELS.get, STEMS):
        raise UserError(f"The backbone is a {kind}, not a ResNet or ResNeXt: {advice}.")
    for key, wanted in FIXED.items():
        value = getattr(backbone, key)
        if (tuple(value) if isinstance(wanted, tuple) else value) != wanted:
            raise UserError(f"model.backbone.{key} is {value}, not {wanted} as in torchvision: {advice}.")
    if max(backbone.out_indices) != 3:
        raise UserError(f"model.backbone.out_indices is {backbone.out_indices}, without stage 3: {advice}.")
    if backbone.expansion != (4 if backbone.depth >= 50 else 1):
        raise UserError(f"model.backbone.expansion is {backbone.expansion}: {advice}.")
    for name, module in backbone.named_modules():
        if isinstance(module, (_BatchNorm, SplitBN)):
            if module.eps != EPS:
                raise UserError(f"model.backbone: {name}.eps is {module.eps}, not {EPS}: {advice}.")
        elif "Norm" in type(module).__name__:
            raise UserError(f"model.backbone.norm_cfg builds a {type(module).__name__}: {advice}.")
    grouped = kind == "ResNeXt"
    if grouped and backbone.base_channels != 64:
        raise UserError(f"model.backbone.base_channels of a ResNeXt is {backbone.base_channels}: {advice}.")
    return ResNetArchitecture(
        depth=backbone.depth,
        stem=STEMS[kind],
        in_channels=backbone.conv1.in_channels,
        stem_channels=backbone.stem_channels,
        base_channels=backbone.base_channels,
        groups=backbone.groups if grouped else 1,
        width_per_group=backbone.width_per_group if grouped else 64,
        # The style does not affect basic blocks.
        style=backbone.style if backbone.depth >= 50 else "pytorch",
    )
