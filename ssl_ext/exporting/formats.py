"""Protocol of export formats, and functions shared by several."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ssl_ext.engine.weights.load import COUNTER
from ssl_ext.models.utils import pool_features

from .architecture import ResNetArchitecture

Network = Callable[[Tensor], Tensor]


class Format(Protocol):
    """An export format of backbones.

    ``ending`` is the suffix of file names. ``about`` is metadata of the network: ``method``, ``mean``,
    ``std``, ``channel_order``, ...
    """

    ending: str

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return metadata of this format; raise UserError for an unsupported backbone."""

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """Return the content of the file, including ``about``."""

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """Load the network from the content; it maps normalised images (N, C, H, W) to features (N, D).

        Uses the target library if possible, and only the architecture of ``backbone``.
        """


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the state dict as contiguous CPU tensors."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def own_network(state: Mapping[str, Tensor], backbone: nn.Module) -> Network:
    """Copy ``backbone`` in evaluation mode with the weights ``state``, which may lack batch-norm counters."""
    network = copy.deepcopy(backbone)
    network.eval()
    counters = {name: value for name, value in network.state_dict().items() if name.endswith(COUNTER)}
    network.load_state_dict({**counters, **state})
    return lambda images: pool_features(network(images))


def described(architecture: ResNetArchitecture) -> dict[str, Any]:
    """Return an architecture as metadata."""
    return dict(name=architecture.name, **asdict(architecture))


def architecture_words(about: Mapping[str, Any]) -> str:
    """Name, stem and unusual widths of a :func:`described` architecture.

    >>> architecture_words(described(ResNetArchitecture(18, "cifar", stem_channels=16, base_channels=16)))
    'resnet18 with cifar stem, base_channels 16, stem_channels 16'
    """
    stem = f" with {about['stem']} stem" if "stem" in about else ""
    widths = (
        f", {key} {about[key]}" for key in ("base_channels", "stem_channels") if about.get(key, 64) != 64
    )
    return about["name"] + stem + "".join(widths)


def torch_file(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()


def read_torch_file(data: bytes) -> dict[str, Any]:
    """Inverse of :func:`torch_file`, for tensors and plain containers."""
    return torch.load(io.BytesIO(data), weights_only=True)


def as_strings(about: Mapping[str, Any]) -> dict[str, str]:
    """Convert metadata to strings; values of other types become JSON.

    >>> as_strings(dict(method="SimCLR", mean=[0.5]))
    {'method': 'SimCLR', 'mean': '[0.5]'}
    """
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}


def from_strings(about: Mapping[str, str]) -> dict[str, Any]:
    """Inverse of :func:`as_strings`; a text that is not JSON is itself.

    >>> from_strings({"method": "SimCLR", "mean": "[0.5]"})
    {'method': 'SimCLR', 'mean': [0.5]}
    """
    values: dict[str, Any] = {}
    for key, text in about.items():
        try:
            values[key] = json.loads(text)
        except (ValueError, RecursionError):
            values[key] = text
    return values
