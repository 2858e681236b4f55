"""Export to torchvision and timm, as torch files readable with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torchvision
from torch import nn

from ssl_ext.errors import UserError

from .architecture import ResNetArchitecture, read_architecture
from .formats import Network, described, read_torch_file, tensors_of, torch_file
from .networks import timm_resnet, torchvision_resnet

LOAD = "net.load_state_dict(torch.load(FILE, weights_only=True)['state_dict'])"
CIFAR_STEM = "net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False); net.maxpool = torch.nn.Identity()"


def unusual(architecture: ResNetArchitecture) -> dict[str, Any]:
    """Return the arguments of the functions in ``networks`` that differ from their defaults."""
    usual = asdict(ResNetArchitecture(depth=architecture.depth, stem="imagenet"))
    return {key: value for key, value in asdict(architecture).items() if value != usual[key]}


def is_library_network(architecture: ResNetArchitecture) -> bool:
    """Return True if torchvision has the network by name, apart from the stem."""
    known = hasattr(torchvision.models, architecture.name)
    return known and architecture.in_channels == 3 and architecture.standard_width


class TorchvisionFile:
    """Torch file ``{'state_dict', 'meta'}`` with torchvision's parameter names, without classifier."""

    ending = "_torchvision.pth"
    library = "torchvision"

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the architecture and the lines that load the file.

        Raises:
            UserError: The library does not support the network.
        """
        architecture = self.architecture(backbone)
        if is_library_network(architecture):
            lines = self.library_lines(architecture)
        else:
            options = "".join(f", {key}={value!r}" for key, value in unusual(architecture).items())
            net = f"net = ssl_ext.apis.{self.library}_resnet({architecture.depth}{options})"
            lines = ["import torch, ssl_ext.apis", net, LOAD]
        return dict(architecture=described(architecture), loading=lines)

    def architecture(self, backbone: nn.Module) -> ResNetArchitecture:
        """Read the backbone's architecture; raise UserError if the library does not support it."""
        architecture = read_architecture(backbone)
        if architecture.style != "pytorch":
            raise UserError(
                f"model.backbone.style is {architecture.style!r}, but bottlenecks of {self.library} have "
                "their stride in the 3x3 convolution (style='pytorch'): use --to detectron2, safetensors or "
                "onnx."
            )
        return architecture

    def library_lines(self, architecture: ResNetArchitecture) -> list[str]:
        """Return code that loads the file without ssl_ext."""
        stem = [CIFAR_STEM] if architecture.stem == "cifar" else []
        net = f"net = torchvision.models.{architecture.name}()"
        return ["import torch, torchvision", net, *stem, "net.fc = torch.nn.Identity()", LOAD]

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """Encode as a torch file."""
        return torch_file(dict(state_dict=tensors_of(backbone), meta=dict(about)))

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """Build the library's network and load the weights strictly."""
        net = self.network(self.architecture(backbone))
        net.load_state_dict(read_torch_file(data)["state_dict"])
        return net.eval()

    def network(self, architecture: ResNetArchitecture) -> nn.Module:
        """Build the library's network without classifier."""
        return torchvision_resnet(architecture.depth, **unusual(architecture))


class TimmFile(TorchvisionFile):
    """The same for timm, which uses torchvision's parameter names."""

    ending = "_timm.pth"
    library = "timm"

    def library_lines(self, architecture: ResNetArchitecture) -> list[str]:
        """Return code that loads the file without ssl_ext."""
        net = f"net = timm.create_model('{architecture.name}', num_classes=0)"
        stem = [CIFAR_STEM] if architecture.stem == "cifar" else []
        return ["import torch, timm", net, *stem, LOAD]

    def network(self, architecture: ResNetArchitecture) -> nn.Module:
        """Build the library's network without classifier."""
        return timm_resnet(architecture.depth, **unusual(architecture))
