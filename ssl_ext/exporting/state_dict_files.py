"""State dicts for torchvision and timm, in torch files that ``weights_only=True`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torchvision
from torch import nn

from ssl_ext.errors import UserError

from .architecture import ResNetArchitecture, read_architecture
from .extras import needed
from .formats import Network, described, read_torch_file, tensors_of, torch_file
from .networks import timm_resnet, torchvision_resnet

LOAD = "net.load_state_dict(torch.load(FILE, weights_only=True)['state_dict'])"
CIFAR_STEM = "net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False); net.maxpool = torch.nn.Identity()"


def unusual(architecture: ResNetArchitecture) -> dict[str, Any]:
    """Arguments of the functions in ``networks`` that differ from their defaults."""
    usual = asdict(ResNetArchitecture(depth=architecture.depth, stem="imagenet"))
    return {key: value for key, value in asdict(architecture).items() if value != usual[key]}


def is_library_network(architecture: ResNetArchitecture) -> bool:
    """True if torchvision has the network by name, apart from its stem."""
    known = hasattr(torchvision.models, architecture.name)
    return known and architecture.in_channels == 3 and architecture.standard_width


class TorchvisionFile:
    """``{'state_dict', 'meta'}`` with torchvision's names, up to the classifier."""

    ending = "_torchvision.pth"
    library = "torchvision"

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Architecture, and the lines that load the file.

        Raises:
            UserError: The library has no such network.
        """
        architecture = self.architecture(backbone)
        if is_library_network(architecture):
            lines = self.library_lines(architecture)
        else:
            options = "".join(f", {key}={value!r}" for key, value in unusual(architecture).items())
            lines = [f"net = ssl_ext.apis.{self.library}_resnet({architecture.depth}{options})", LOAD]
        return dict(architecture=described(architecture), loading=lines)

    def architecture(self, backbone: nn.Module) -> ResNetArchitecture:
        """The backbone's architecture, if the library knows it."""
        architecture = read_architecture(backbone)
        if architecture.style != "pytorch":
            raise UserError(
                f"model.backbone.style is {architecture.style!r}, and bottlenecks of {self.library} have "
                "their stride in the 3x3 convolution (style='pytorch'): --to detectron2, safetensors and "
                "onnx take it."
            )
        return architecture

    def library_lines(self, architecture: ResNetArchitecture) -> list[str]:
        """Code that loads the file with the library alone."""
        stem = [CIFAR_STEM] if architecture.stem == "cifar" else []
        net = f"net = torchvision.models.{architecture.name}()"
        return [net, *stem, "net.fc = torch.nn.Identity()", LOAD]

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """A torch file."""
        return torch_file(dict(state_dict=tensors_of(backbone), meta=dict(about)))

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """The library's network with all weights of the file, and no others."""
        net = self.network(self.architecture(backbone))
        net.load_state_dict(read_torch_file(data)["state_dict"])
        return net.eval()

    def network(self, architecture: ResNetArchitecture) -> nn.Module:
        """The library's network, without a classifier."""
        return torchvision_resnet(architecture.depth, **unusual(architecture))


class TimmFile(TorchvisionFile):
    """The same for timm, whose names are torchvision's."""

    ending = "_timm.pth"
    library = "timm"

    def architecture(self, backbone: nn.Module) -> ResNetArchitecture:
        """The backbone's architecture, if the library knows it."""
        needed("timm", "timm")
        architecture = super().architecture(backbone)
        if architecture.stem_channels != 64:
            raise UserError(
                f"model.backbone.stem_channels is {architecture.stem_channels}, and the stem of timm's "
                "ResNets always has 64: --to torchvision, safetensors and onnx take it."
            )
        return architecture

    def library_lines(self, architecture: ResNetArchitecture) -> list[str]:
        """Code that loads the file with the library alone."""
        net = f"net = timm.create_model('{architecture.name}', num_classes=0)"
        return [net, *([CIFAR_STEM] if architecture.stem == "cifar" else []), LOAD]

    def network(self, architecture: ResNetArchitecture) -> nn.Module:
        """The library's network, without a classifier."""
        return timm_resnet(architecture.depth, **unusual(architecture))
