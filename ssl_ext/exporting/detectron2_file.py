"""Export to detectron2, with the parameter names of its model zoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ssl_ext.engine.weights.layouts import from_detectron2, to_detectron2
from ssl_ext.engine.weights.load import COUNTER
from ssl_ext.errors import UserError

from .architecture import read_architecture
from .formats import Network, described, own_network, read_torch_file, tensors_of, torch_file

OWN_STEM = "# The stem is 3x3, stride 1, without pooling, unlike BasicStem: register your own."


class Detectron2File:
    """Torch file ``{'model', '__author__', 'matching_heuristics', 'meta'}``, free of code.

    With the heuristics detectron2 matches tensors by name suffix under ``backbone.``,
    ``backbone.bottom_up.`` and ``roi_heads.``.
    """

    ending = "_detectron2.pth"

    def about(self, backbone: Any, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the architecture, the matching config keys of detectron2 and the lines that load the file.

        Raises:
            UserError: detectron2 does not support the network.
        """
        architecture = read_architecture(backbone)
        if architecture.depth < 50 and not architecture.standard_width:
            raise UserError(
                f"model.backbone has stem_channels={architecture.stem_channels}, base_channels="
                f"{architecture.base_channels}, but detectron2's ResNet-{architecture.depth} supports only "
                "64 and 64: use --to torchvision, timm, safetensors or onnx."
            )
        if about["channel_order"] != "RGB":
            raise UserError(
                f"The network takes {about['channel_order']} images, but detectron2 supports only RGB and "
                "BGR: use --to safetensors or onnx."
            )
        width = architecture.width_per_group if architecture.groups > 1 else architecture.base_channels
        settings = {
            "MODEL.RESNETS.DEPTH": architecture.depth,
            "MODEL.RESNETS.STRIDE_IN_1X1": architecture.style == "caffe",
            "MODEL.RESNETS.NUM_GROUPS": architecture.groups,
            "MODEL.RESNETS.WIDTH_PER_GROUP": width,
            "MODEL.RESNETS.STEM_OUT_CHANNELS": architecture.stem_channels,
            "MODEL.RESNETS.RES2_OUT_CHANNELS": backbone.layer1[-1].out_channels,
            "MODEL.PIXEL_MEAN": [round(255 * value, 4) for value in about["mean"]],
            "MODEL.PIXEL_STD": [round(255 * value, 4) for value in about["std"]],
            "INPUT.FORMAT": about["channel_order"],
        }
        lines = ["from detectron2.config import get_cfg", "cfg = get_cfg()", "cfg.MODEL.WEIGHTS = FILE"]
        lines += [f"cfg.{key} = {value!r}" for key, value in settings.items()]
        if architecture.stem == "cifar":
            lines.append(OWN_STEM)
        return dict(architecture=described(architecture), settings=settings, loading=lines)

    def encode(self, backbone: nn.Module, about: Mapping[str, Any]) -> bytes:
        """Encode as a torch file, without batch-norm counters, as in the model zoo."""
        tensors = {to_detectron2(n): v for n, v in tensors_of(backbone).items() if not n.endswith(COUNTER)}
        return torch_file(
            dict(model=tensors, __author__="ssl_ext", matching_heuristics=True, meta=dict(about))
        )

    def decode(self, data: bytes, backbone: nn.Module) -> Network:
        """Load the weights into a copy of ``backbone``; detectron2 is not needed."""
        model = read_torch_file(data)["model"]
        return own_network({from_detectron2(name): value for name, value in model.items()}, backbone)
