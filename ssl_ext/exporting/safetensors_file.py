"""Weights of any backbone as safetensors, which hold no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import nn

from ssl_ext.errors import UserError

from .architecture import read_architecture
from .formats import Network, as_strings, described, own_network, tensors_of


class SafetensorsFile:
    """The backbone's own names (for a ResNet torchvision's), and all metadata as strings."""

    ending = ".safetensors"

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Architecture, and the line that loads the file."""
        return dict(
            architecture=architecture_of(backbone), loading=["state = safetensors.torch.load_file(FILE)"]
        )

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """A safetensors file."""
        return save(tensors_of(backbone), metadata=as_strings({**about, "format": "pt"}))

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """The backbone with the weights of the file."""
        return own_network(load(data), backbone)


def architecture_of(backbone: nn.Module) -> dict[str, Any]:
    """A ResNet's architecture; of any other network its class."""
    try:
        return described(read_architecture(backbone))
    except UserError:
        return dict(name=type(backbone).__name__)
