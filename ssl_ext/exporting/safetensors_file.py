"""Export of any backbone to safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import nn

from ssl_ext.errors import UserError

from .architecture import read_architecture
from .formats import Network, as_strings, described, own_network, tensors_of


class SafetensorsFile:
    """The backbone's own parameter names (for a ResNet torchvision's), and metadata as strings."""

    ending = ".safetensors"

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the architecture and the lines that load the file."""
        loading = ["import safetensors.torch", "state = safetensors.torch.load_file(FILE)"]
        return dict(architecture=architecture_of(backbone), loading=loading)

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """Encode as a safetensors file."""
        return save(tensors_of(backbone), metadata=as_strings({**about, "format": "pt"}))

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """Load the weights into a copy of ``backbone``."""
        return own_network(load(data), backbone)


def architecture_of(backbone: nn.Module) -> dict[str, Any]:
    """Return a ResNet's architecture, or the class name of any other network."""
    try:
        return described(read_architecture(backbone))
    except UserError:
        return dict(name=type(backbone).__name__)
