"""Faster R-CNN on a pretrained ResNet backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.registry import MODELS

from .backbone import build_backbone, c4_stride, stage_channels
from .heads import C4RoIAlign, FullPrecisionPredictor, FullPrecisionRPNHead

LAYOUTS = ("C4", "FPN")
FPN_CHANNELS, FPN_FEATURES = 256, 1024


@MODELS.register_module()
class FasterRCNN(TrainableModel):
    """Faster R-CNN (Ren et al., 2015) in the layouts with which MoCo (He et al., 2020) evaluates backbones.

    ``'C4'``: the stages up to ``layer3`` compute the feature map; ``layer4`` is applied to each RoIAligned
    box, followed by an extra normalisation and average pooling. ``'FPN'``: a feature pyramid on all four
    stages and a head of four convolutions and one linear layer, all normalised. No layer is frozen; all
    normalisation is BN, SyncBN on several GPUs. ``backbone`` is the whole ResNet in both layouts, so that
    pretrained weights match by name.

    Args:
        backbone: Config of a ResNet with either stem; outputs and normalisation are overridden.
        num_classes: Number of classes K, without the background.
        layout: ``'C4'`` or ``'FPN'``.
        anchor_sizes: Sides of the square anchors in pixels of the resized image; an FPN uses one per level
            and needs five.
        aspect_ratios: Height / width of the anchors.
        roi_size: S; boxes are pooled to S x S positions.
        rpn: Settings of the region proposal network: ``batch_size``, ``positive_fraction``,
            ``pre_nms`` and ``post_nms`` (numbers of proposals in training and test), ``nms``.
        roi: Settings of the second stage: ``batch_size``, ``positive_fraction``, ``score``, ``nms`` and
            ``detections`` per image.
        data_preprocessor: Config of a :class:`DetectionPreprocessor`.

    Raises:
        ValueError: An unknown layout or setting, or a number out of range.
    """

    # No loss compares images.
    smallest_batch = 1
    batch_dependence = (
        "each term is a mean over the boxes sampled in a batch, to which images add unequal numbers"
    )
    capture_obstacle = "the numbers of proposals and sampled boxes depend on the images"

    def __init__(
        self,
        *,
        backbone: dict,
        num_classes: int,
        layout: str = "C4",
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        roi_size: int = 14,
        rpn: dict | None = None,
        roi: dict | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if layout not in LAYOUTS:
            raise ValueError(f"model.layout is {layout!r}; allowed are {' and '.join(LAYOUTS)}.")
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f"model.num_classes is {num_classes!r}; it must be at least 1.")
        if layout == "FPN" and len(anchor_sizes) != 5:
            raise ValueError(f"model.anchor_sizes has {len(anchor_sizes)} sizes; an FPN has 5 levels.")
        self.layout = layout
        self.num_classes = num_classes
        self.backbone = build_backbone(backbone, layout)
        channels = [stage_channels(self.backbone, stage) for stage in range(1, 5)]
        sizes = [tuple(anchor_sizes)] if layout == "C4" else [(size,) for size in anchor_sizes]
        anchors = AnchorGenerator(tuple(sizes), (tuple(aspect_ratios),) * len(sizes))
        if layout == "C4":
            self.neck, rpn_channels = None, channels[2]
            self.roi_norm = nn.BatchNorm2d(channels[3])
            pool = C4RoIAlign(roi_size, c4_stride(self.backbone))
            head, head_channels = self.pool_layer4, channels[3]
        else:
            self.neck = FeaturePyramidNetwork(channels, FPN_CHANNELS, LastLevelMaxPool(), nn.BatchNorm2d)
            rpn_channels, head_channels = FPN_CHANNELS, FPN_FEATURES
            pool = MultiScaleRoIAlign(["0", "1", "2", "3"], roi_size, sampling_ratio=2)
            head = FastRCNNConvFCHead(
                (FPN_CHANNELS, roi_size, roi_size), [FPN_CHANNELS] * 4, [FPN_FEATURES], nn.BatchNorm2d
            )
        rpn_head = FullPrecisionRPNHead(rpn_channels, anchors.num_anchors_per_location()[0])
        self.rpn = region_proposals(anchors, rpn_head, **(rpn or {}))
        predictor = FullPrecisionPredictor(head_channels, num_classes + 1)
        self.roi_heads = second_stage(pool, head, predictor, **(roi or {}))

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError unless the training images have ``num_classes`` classes."""
        names = dataset.metainfo["classes"]
        if len(names) != self.num_classes:
            found = f"the images have {len(names)} classes ({', '.join(names)})"
            raise ValueError(f"{found}, model.num_classes is {self.num_classes}; set it to {len(names)}.")

    def pool_layer4(self, aligned: Tensor) -> Tensor:
        """Apply ``layer4``, the extra normalisation and average pooling: (R, C, S, S) to (R, C')."""
        return self.roi_norm(self.backbone.layer4(aligned)).mean((2, 3))

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of a batch (N, channels, H, W) by name: one, or the five of the pyramid."""
        stages = OrderedDict((str(level), maps) for level, maps in enumerate(self.backbone(images)))
        return stages if self.neck is None else self.neck(stages)

    def forward(self, inputs: Tensor, data_samples: list[dict] | None = None, mode: str = "tensor") -> Any:
        """``'loss'``: named terms; ``'predict'``: detections; ``'tensor'``: feature maps.

        Args:
            inputs: Batch (N, channels, H, W) from :class:`DetectionPreprocessor`.
            data_samples: Data samples from :class:`DetectionPreprocessor`.
            mode: One of the three above.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples or [])
        if mode == "predict":
            return self.predict(inputs, data_samples or [])
        return self.extract_features(inputs)

    def loss(self, inputs: Tensor, data_samples: list[dict]) -> dict[str, Tensor]:
        """Return the four terms: objectness and boxes of the RPN, classes and boxes of the second stage."""
        # torchvision reserves class 0 for the background.
        targets = [dict(boxes=s["boxes"], labels=s["labels"] + 1) for s in data_samples]
        features, images = self.extract_features(inputs), image_list(inputs, data_samples)
        proposals, first = self.rpn(images, features, targets)
        _, second = self.roi_heads(features, proposals, images.image_sizes, targets)
        return dict(
            loss_rpn_objectness=first["loss_objectness"],
            loss_rpn_box=first["loss_rpn_box_reg"],
            loss_class=second["loss_classifier"],
            loss_box=second["loss_box_reg"],
        )

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list[dict]) -> list[dict[str, Tensor]]:
        """Return the detections of each image by descending score.

        Returns:
            One dict per image: ``boxes`` (P, 4) in pixels of the original image, ``scores`` (P,) and
            ``labels`` (P,) from 0 to K − 1.
        """
        features, images = self.extract_features(inputs), image_list(inputs, data_samples)
        proposals, _ = self.rpn(images, features)
        found, _ = self.roi_heads(features, proposals, images.image_sizes)
        return [
            dict(
                boxes=resize_boxes(one["boxes"], list(sample["resized_size"]), list(sample["size"])),
                scores=one["scores"],
                labels=one["labels"] - 1,
            )
            for one, sample in zip(found, data_samples, strict=True)
        ]


def image_list(inputs: Tensor, data_samples: list[dict]) -> ImageList:
    """Wrap a batch with the image sizes (H, W) before padding."""
    return ImageList(inputs, [tuple(sample["resized_size"]) for sample in data_samples])


def region_proposals(
    anchors: AnchorGenerator,
    head: nn.Module,
    *,
    batch_size: int = 256,
    positive_fraction: float = 0.5,
    pre_nms: tuple[int, int] = (2000, 1000),
    post_nms: tuple[int, int] = (2000, 1000),
    nms: float = 0.7,
) -> RegionProposalNetwork:
    """Build torchvision's region proposal network; anchors are positive from IoU 0.7, negative below 0.3."""
    stages = ("training", "testing")
    return RegionProposalNetwork(
        anchors,
        head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=batch_size,
        positive_fraction=positive_fraction,
        pre_nms_top_n=dict(zip(stages, pre_nms, strict=True)),
        post_nms_top_n=dict(zip(stages, post_nms, strict=True)),
        nms_thresh=nms,
    )


def second_stage(
    pool: nn.Module,
    head: Callable[[Tensor], Tensor],
    predictor: nn.Module,
    *,
    batch_size: int = 512,
    positive_fraction: float = 0.25,
    score: float = 0.05,
    nms: float = 0.5,
    detections: int = 100,
) -> RoIHeads:
    """Build torchvision's second stage; proposals are positive from IoU 0.5."""
    return RoIHeads(
        pool,
        head,
        predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=batch_size,
        positive_fraction=positive_fraction,
        bbox_reg_weights=None,
        score_thresh=score,
        nms_thresh=nms,
        detections_per_img=detections,
    )
