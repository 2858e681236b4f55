"""Modules of Faster R-CNN that differ from torchvision's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import roi_align


class C4RoIAlign(nn.Module):
    """RoIAlign on a single feature map with the half-pixel shift of Detectron2's C4 models.

    torchvision's ``MultiScaleRoIAlign`` samples without that shift.

    Args:
        output_size: S; boxes are pooled to S x S positions.
        stride: Stride of the feature map in image pixels.
    """

    def __init__(self, output_size: int, stride: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.stride = stride

    def forward(
        self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return features (R, C, S, S) of all R boxes (x1, y1, x2, y2 in image pixels) of all images."""
        (maps,) = features.values()
        return roi_align(maps, boxes, self.output_size, 1 / self.stride, sampling_ratio=0, aligned=True)


class FullPrecisionRPNHead(RPNHead):
    """Torchvision's RPN head with float32 outputs under autocast.

    Boxes are decoded in the dtype of these outputs, and bfloat16 cannot represent all integers above 256.
    """

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness (N, A, H, W) and box regression (N, 4 A, H, W) of each feature map."""
        objectness, regression = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in regression]


class FullPrecisionPredictor(FastRCNNPredictor):
    """Torchvision's box predictor with float32 outputs under autocast and Detectron2's initialisation.

    Args:
        in_channels: Channels of the pooled features.
        num_classes: Number of classes including the background, K + 1.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores (R, K + 1) and box regression (R, 4 (K + 1)) of features (R, C)."""
        scores, regression = super().forward(x)
        return scores.float(), regression.float()
