"""The protocol of export formats, and functions that several share."""

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
    """A form in which a backbone leaves this project.

    ``ending`` is that of file names. ``about`` is what is known of the network (``method``, ``mean``,
    ``std``, ``channel_order``, ...).
    """

    ending: str

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Metadata of this format; raises UserError for a backbone that it cannot hold."""

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """The content of the file, ``about`` in it."""

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """The network in the content, from normalised images (N, C, H, W) to features (N, D).

        By the means of the receiving library where this is possible. Of ``backbone`` only the
        architecture is used.
        """


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Named weights as contiguous tensors on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def own_network(state: Mapping[str, Tensor], backbone: nn.Module) -> Network:
    """A copy of ``backbone`` with other weights: all of its own must be there, but for counters."""
    network = copy.deepcopy(backbone)
    network.eval()
    counters = {name: value for name, value in network.state_dict().items() if name.endswith(COUNTER)}
    network.load_state_dict({**counters, **state})
    return lambda images: pool_features(network(images))


def described(architecture: ResNetArchitecture) -> dict[str, Any]:
    """An architecture as metadata."""
    return dict(name=architecture.name, **asdict(architecture))


def torch_file(content: Mapping[str, Any]) -> bytes:
    """The bytes of ``torch.save``."""
    file = io.BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()


def read_torch_file(data: bytes) -> dict[str, Any]:
    """The inverse of :func:`torch_file`, for tensors and plain containers."""
    return torch.load(io.BytesIO(data), weights_only=True)


def as_strings(about: Mapping[str, Any]) -> dict[str, str]:
    """Metadata for formats whose values are strings; what is none is written as JSON.

    >>> as_strings(dict(method="SimCLR", mean=[0.5]))
    {'method': 'SimCLR', 'mean': '[0.5]'}
    """
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
