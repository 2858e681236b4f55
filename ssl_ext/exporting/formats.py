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
