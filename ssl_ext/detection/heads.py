"""Parts of Faster R-CNN: what torchvision's detection models are put together from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import roi_align


class C4RoIAlign(nn.Module):
    """RoIAlign on a single feature map, with the half-pixel shift that Detectron2's C4 models have.

    Args:
        output_size: S; every box becomes S x S positions.
        stride: Pixels of the image between two positions of the map.

    torchvision's ``MultiScaleRoIAlign`` samples without that shift.
    """

    def __init__(self, output_size: int, stride: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.stride = stride

    def forward(
        self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Features (sum of boxes, C, S, S) of the boxes of every image; boxes in pixels of the images."""
        (maps,) = features.values()
        return roi_align(maps, boxes, self.output_size, 1 / self.stride, sampling_ratio=0, aligned=True)


class FullPrecisionRPNHead(RPNHead):
    """Torchvision's head of the region proposal network, whose outputs are float32 under autocast.

    Boxes are decoded in the dtype of these outputs, and bfloat16 tells pixels above 256 apart no more.
    """

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness (N, A, H, W) and box regression (N, 4 A, H, W) of every feature map."""
        objectness, regression = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in regression]


class FullPrecisionPredictor(FastRCNNPredictor):
    """Torchvision's last two layers, float32 under autocast, with Detectron2's small initial weights.

    Args:
        in_channels: Channels of the pooled features.
        num_classes: Number of classes and one for the background.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores (R, K + 1) and box regression (R, 4 (K + 1)) of features (R, C)."""
        scores, regression = super().forward(x)
        return scores.float(), regression.float()
