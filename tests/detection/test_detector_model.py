"""Faster R-CNN and its preprocessor: geometry, equality with torchvision, weights, learning."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from ssl_ext.apis import build_model
from ssl_ext.detection import DetectionPreprocessor
from ssl_ext.detection.heads import C4RoIAlign
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError


def build(config, layout="C4", seed=0):
    config.model.layout = layout
    if layout == "FPN":
        config.model.anchor_sizes = (4, 8, 16, 32, 64)
        config.model.backbone.type = "ResNet"
    torch.manual_seed(seed)
    return build_model(config)


def batch(*sizes):
    """Random images of the sizes (H, W), each with two boxes."""
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in sizes]
    boxes = torch.tensor([[4.0, 6.0, 20.0, 30.0], [22.0, 3.0, 38.0, 19.0]])
    samples = [dict(boxes=boxes.clone(), labels=torch.tensor([0, 1])) for _ in images]
    return dict(inputs=images, data_samples=samples)


def test_boxes_follow_their_objects_through_resizing_and_flips():
    preprocessor = DetectionPreprocessor(
        [0.0], [1.0], short_sides=(20, 40), test_short_side=40, size_divisible=16
    )
    image = torch.zeros(1, 40, 60, dtype=torch.uint8)
    image[:, 8:16, 4:24] = 255
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        sample = dict(boxes=torch.tensor([[4.0, 8.0, 24.0, 16.0]]))
        done = preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)
        ((height, width), *_), box = (
            [s["resized_size"] for s in done["data_samples"]],
            done["data_samples"][0],
        )
        x1, y1, x2, y2 = box["boxes"][0].int().tolist()
        inside = torch.zeros_like(done["inputs"])
        inside[..., y1:y2, x1:x2] = 1
        # Antialiasing blurs the border.
        assert torch.equal(done["inputs"] > 0.5, inside > 0.5)
        assert box["size"] == (40, 60) and done["inputs"].shape[-2:] == (
            -(-height // 16) * 16,
            -(-width // 16) * 16,
        )
        seen.add((height, x1))
    assert seen == {(20, 2), (20, 18), (40, 4), (40, 36)}


def test_a_batch_is_normalised_in_the_order_of_its_channels_and_padded_with_zeros():
    preprocessor = DetectionPreprocessor(
        [0.1, 0.2, 0.3], [0.5, 0.25, 0.2], test_short_side=8, size_divisible=4, channel_order="bgr"
    )
    images = [
        torch.randint(256, (3, 8, 10), dtype=torch.uint8),
        torch.randint(256, (3, 16, 16), dtype=torch.uint8),
    ]
    done = preprocessor(dict(inputs=images))
    assert done["inputs"].shape == (2, 3, 8, 12)
    expected = (images[0].flip(0) / 255 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
        [0.5, 0.25, 0.2]
    )[:, None, None]
    torch.testing.assert_close(done["inputs"][0, :, :, :10], expected)
    assert not done["inputs"][0, :, :, 10:].any() and not done["inputs"][1, :, :, 8:].any()


def test_the_long_side_is_limited():
    preprocessor = DetectionPreprocessor([0.5], [0.5], max_size=1333)
    assert preprocessor.resized((500, 375), 800) == (1067, 800)
    assert preprocessor.resized((100, 500), 800) == (267, 1333)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(mean=[0.5]), "mean has 1 channels and std has 3"),
        (dict(mean=[123.7, 116.3, 103.5]), r"units of images in \[0, 1\]"),
        (dict(short_sides=()), "whole numbers of pixels"),
        (dict(flip=2), "flip is 2"),
        (dict(channel_order="rbg"), "'rgb' and 'bgr'"),
    ],
)
def test_wrong_settings_of_the_preprocessor_are_told(wrong, words):
    with pytest.raises(ValueError, match=words):
        DetectionPreprocessor(**{**dict(mean=[0.5] * 3, std=[0.5] * 3), **wrong})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(layout="C5"), "model.layout is 'C5'"),
        (dict(num_classes=0), "num_classes is 0"),
        (dict(layout="FPN"), "anchor_sizes has 3 sizes"),
        (dict(roi=dict(batchsize=3)), "batchsize"),
    ],
)
def test_wrong_settings_of_the_detector_are_told(detector_config, wrong, words):
    detector_config.model.update(wrong)
    with pytest.raises(UserError, match=words):
        build_model(detector_config)


def test_images_of_another_number_of_channels_are_told(detector_config):
    preprocessor = build(detector_config).data_preprocessor
    with pytest.raises(ValueError, match="preprocessor for 3 channels"):
        preprocessor(dict(inputs=[torch.zeros(1, 8, 8, dtype=torch.uint8)]))


def test_roi_align_reads_positions_at_the_centres_of_their_pixels():
    """On a ramp in x every bin is the mean x of its pixel centres."""
    stride = 4
    columns = (torch.arange(16.0) + 0.5) * stride
    ramp = columns.expand(1, 1, 16, 16)
    boxes = [torch.tensor([[6.0, 10.0, 30.0, 34.0], [9.0, 9.0, 41.0, 21.0]])]
    pooled = C4RoIAlign(4, stride)({"0": ramp}, boxes, [(64, 64)])
    width = boxes[0][:, 2] - boxes[0][:, 0]
    expected = boxes[0][:, :1] + (torch.arange(4) + 0.5) * width[:, None] / 4
    torch.testing.assert_close(pooled[:, 0], expected[:, None].expand(2, 4, 4))


class Features(nn.Module):
    """Backbone in torchvision's interface."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.extract_features(images)


@pytest.mark.parametrize("layout", ["C4", "FPN"])
def test_losses_and_detections_are_those_of_torchvision(detector_config, layout):
    """torchvision's FasterRCNN with the same modules, on images that need no resizing."""
    detector_config.model.data_preprocessor.update(short_sides=(48,), flip=0.0, size_divisible=32)
    model = build(detector_config, layout)
    transform = GeneralizedRCNNTransform(48, 80, [0.5] * 3, [0.5] * 3, size_divisible=32)
    theirs = GeneralizedRCNN(Features(model), model.rpn, model.roi_heads, transform)
    data = batch((48, 64), (48, 56))
    targets = [dict(s, labels=s["labels"] + 1) for s in data["data_samples"]]
    images = [image / 255 for image in data["inputs"]]

    theirs.train().transform.eval()  # evaluation mode of the transform draws no random numbers
    torch.manual_seed(1)
    expected = theirs(images, targets)
    done = model.data_preprocessor(data, True)
    torch.manual_seed(1)
    found = model(**done, mode="loss")
    names = dict(
        loss_rpn_objectness="loss_objectness",
        loss_rpn_box="loss_rpn_box_reg",
        loss_class="loss_classifier",
        loss_box="loss_box_reg",
    )
    assert set(found) == set(names)
    for ours, name in names.items():
        torch.testing.assert_close(found[ours], expected[name])

    model.roi_heads.score_thresh = 0.0
    theirs.eval()
    with torch.no_grad():
        expected = theirs(images)
    found = model.eval()(**model.data_preprocessor(data), mode="predict")
    for ours, other in zip(found, expected, strict=True):
        assert len(ours["boxes"]) > 10 and set(ours["labels"].tolist()) <= {0, 1}
        torch.testing.assert_close(ours["boxes"], other["boxes"])
        torch.testing.assert_close(ours["scores"], other["scores"])
        assert torch.equal(ours["labels"], other["labels"] - 1)


def test_detections_are_in_pixels_of_the_original_image(detector_config):
    model = build(detector_config).eval()
    model.roi_heads.score_thresh = 0.0
    data = batch((24, 32))
    small = model(**model.data_preprocessor(data), mode="predict")[0]
    assert small["boxes"][:, 2].max() <= 32 and small["boxes"][:, 3].max() <= 24
    done = model.data_preprocessor(data)
    assert done["data_samples"][0]["resized_size"] == (48, 64)
    done["data_samples"][0]["size"] = (48, 64)
    torch.testing.assert_close(model(**done, mode="predict")[0]["boxes"], small["boxes"] * 2)


@pytest.mark.parametrize(("kind", "stride"), [("ResNet", 16), ("ResNet_CIFAR", 4)])
def test_the_first_stage_ends_at_layer3_and_the_second_is_layer4(detector_config, kind, stride):
    detector_config.model.backbone.type = kind
    model = build(detector_config).eval()
    images = torch.randn(1, 3, 64, 96)
    (maps,) = model.extract_features(images).values()
    assert maps.shape == (1, 32, 64 // stride, 96 // stride)
    assert model.roi_heads.box_roi_pool.stride == stride
    aligned = torch.randn(5, 32, 4, 4)
    nn.init.normal_(model.roi_norm.weight)
    expected = model.roi_norm(model.backbone.layer4(aligned)).mean((2, 3))
    torch.testing.assert_close(model.roi_heads.box_head(aligned), expected)


@pytest.mark.parametrize("layout", ["C4", "FPN"])
def test_nothing_is_frozen_and_normalisation_uses_the_batch(detector_config, layout):
    detector_config.model.backbone.update(frozen_stages=2, norm_eval=True, norm_cfg=dict(type="SplitBN"))
    model = build(detector_config, layout).train()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 20 + (1 if layout == "C4" else 12) and all(norm.training for norm in norms)
    loss = model(**model.data_preprocessor(batch((48, 64), (40, 56)), True), mode="loss")
    sum(loss.values()).backward()
    still = [name for name, weight in model.named_parameters() if not weight.grad.abs().sum() > 0]
    # A bias before a normalisation has no gradient, nor has the regression of a class without boxes.
    assert not [name for name in still if not name.endswith("bias")]


def test_a_copy_of_a_detector_runs_its_own_layer4(detector_config):
    model = build(detector_config)
    other = copy.deepcopy(model)
    assert other.roi_heads.box_head.__self__ is other


def test_images_without_boxes_are_background(detector_config):
    model = build(detector_config).train()
    data = batch((48, 64), (48, 64))
    for sample in data["data_samples"]:
        sample.update(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    loss = model(**model.data_preprocessor(data, True), mode="loss")
    assert loss["loss_rpn_box"] == loss["loss_box"] == 0
    sum(loss.values()).backward()
    torch.testing.assert_close(loss["loss_class"].item(), float(torch.tensor(3.0).log()), atol=0.1, rtol=0)


@pytest.mark.parametrize("layout", ["C4", "FPN"])
def test_weights_of_a_pretraining_fill_the_whole_backbone(detector_config, tmp_path, layout):
    source, model = build(detector_config, layout, seed=1), build(detector_config, layout, seed=2)
    torch.save({f"backbone.{k}": v for k, v in source.backbone.state_dict().items()}, tmp_path / "a.pth")
    report = load_weights(model, tmp_path / "a.pth")
    assert report.backbone_share == 1 and not report.unexpected
    assert set(report.matched) == {f"backbone.{name}" for name in source.backbone.state_dict()}
    assert any(name.startswith("backbone.layer4.") for name in report.matched)
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
