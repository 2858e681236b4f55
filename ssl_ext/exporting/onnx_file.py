"""Export to ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.errors import UserError
from ssl_ext.models.utils import pool_features
from ssl_ext.registry import MODELS

from .classifier import ClassifierModule
from .extras import needed
from .formats import Network, as_strings
from .safetensors_file import architecture_of

IMAGES, FEATURES, PROBABILITIES = "images", "features", "probabilities"
ANY_NUMBER = {0: "batch"}
ANY_SIZE = {2: "height", 3: "width"}


class PooledBackbone(nn.Module):
    """Backbone with pooling: maps normalised images (N, C, H, W) to features (N, D)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features (N, D) of the last stage."""
        return pool_features(self.backbone(images))


class OnnxFile:
    """ONNX model with input ``images`` and output ``features``, or ``probabilities`` of a classifier.

    The batch size is dynamic, and for ResNets the image size too.
    """

    ending = ".onnx"

    def about(self, backbone: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the architecture and the lines that run the file.

        Raises:
            UserError: A package is missing.
        """
        for package in ("onnx", "onnxscript", "onnxruntime"):
            needed(package, "onnx")
        network = backbone.backbone if isinstance(backbone, ClassifierModule) else backbone
        shape = 1, len(about["mean"]), about["checked_at"], about["checked_at"]
        loading = [
            "import numpy, onnxruntime",
            "session = onnxruntime.InferenceSession(FILE, providers=onnxruntime.get_available_providers())",
            f"{IMAGES} = numpy.zeros({shape}, numpy.float32)  # yours, prepared as above",
            f"{_output(backbone)}, = session.run(None, {{'{IMAGES}': {IMAGES}}})",
        ]
        said: dict[str, Any] = dict(architecture=architecture_of(network), loading=loading)
        if not takes_any_size(backbone):
            said["input"] = about["input"].replace("H, W", "{0}, {0}".format(about["checked_at"]))
        return said

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """Encode as an ONNX model with ``about`` in its ``metadata_props``.

        Raises:
            UserError: torch cannot export the network.
        """
        onnx = needed("onnx", "onnx")
        size = about["checked_at"]
        example = torch.zeros(2, len(about["mean"]), size, size)
        free: dict[int, Any] = {**ANY_NUMBER, **(ANY_SIZE if takes_any_size(backbone) else {})}
        if torch.__version__ < "2.7":  # The exporter of torch 2.6 takes a name for a fixed dimension.
            free = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
        try:
            with _quiet():
                program = torch.onnx.export(
                    PooledBackbone(backbone).eval(),
                    (example,),
                    dynamo=True,
                    verbose=False,
                    input_names=[IMAGES],
                    output_names=[_output(backbone)],
                    dynamic_shapes={IMAGES: free},
                )
        except Exception as error:
            # Unsupported operations, or a version of onnxscript that does not match this torch.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(f"--to onnx: torch cannot export this network ({reason}).") from error
        assert program is not None  # as dynamo=True
        model = program.model_proto
        # The exporter stores stack traces with local paths in the nodes; remove them.
        for node in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
            del node.metadata_props[:]
        onnx.helper.set_model_props(model, as_strings(about))
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """Load the graph into onnxruntime on the CPU."""
        runtime = needed("onnxruntime", "onnx")
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])

        def network(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {IMAGES: images.numpy()})[0])

        return network


def takes_any_size(backbone: nn.Module) -> bool:
    """Return True if the network accepts any image size (ResNets), so that the size can be dynamic."""
    network = backbone.backbone if isinstance(backbone, ClassifierModule) else backbone
    return isinstance(network, MODELS.get("ResNet"))


def _output(backbone: nn.Module) -> str:
    return PROBABILITIES if isinstance(backbone, ClassifierModule) else FEATURES


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter logs and warns about every operator.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
