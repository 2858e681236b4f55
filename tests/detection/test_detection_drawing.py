"""Figures show the boxes of the annotations and of the detector."""

import functools
import importlib
import json
import sys

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from ssl_ext.apis.figures.detections import detections_figure
from ssl_ext.config.networks import random_network
from ssl_ext.errors import UserError
from ssl_ext.visualization import detection_panels

WIDTH, HEIGHT = 64, 48
CLASSES = ("cell", "platelet")


def shown(axes):
    """Corners, colour and line style of the rectangles of a panel."""
    return [
        (*patch.get_bbox().extents.round(4).tolist(), to_hex(patch.get_edgecolor()), patch.get_linestyle())
        for patch in axes.patches
    ]


def test_panels_show_boxes_classes_and_scores():
    wide = torch.arange(3 * 4 * 8, dtype=torch.uint8).reshape(3, 4, 8)
    true = dict(
        boxes=torch.tensor([[0.0, 0, 8, 4], [1, 1, 3, 2]]),
        labels=torch.tensor([1, 0]),
        difficult=torch.tensor([True, False]),
    )
    found = dict(
        boxes=torch.tensor([[1.0, 1, 3, 2.5], [0, 0, 2, 2], [7, 0, 8, 4]]),
        labels=torch.tensor([0, 0, 2]),
        scores=torch.tensor([0.75, 0.49, 0.5]),
    )
    empty = dict(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0), difficult=torch.zeros(0), scores=torch.zeros(0)
    )
    figure = detection_panels([wide, wide.mT], [true, empty], [found, empty], ["cell", "dust", "hair"])
    left, right, *others = figure.axes
    blue, orange, green = "#0072b2", "#d55e00", "#009e73"
    assert shown(left) == [(0, 0, 8, 4, orange, "--"), (1, 1, 3, 2, blue, "-")] and not left.texts
    assert shown(right) == [(1, 1, 3, 2.5, blue, "-"), (7, 0, 8, 4, green, "-")]
    assert [text.get_text() for text in right.texts] == ["cell 0.75", "hair 0.50"]
    # The text of a box at the right border is right-aligned.
    assert [(text.get_position(), text.get_ha()) for text in right.texts] == [
        ((1, 1), "left"),
        ((8, 0), "right"),
    ]
    np.testing.assert_array_equal(left.get_images()[0].get_array(), wide.permute(1, 2, 0))
    assert left.get_images()[0].get_extent() == [0, 8, 4, 0] and left.get_ylim() == (4, 0)
    assert not any(axes.patches for axes in others) and others[0].get_xlim() == (0, 4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cell", "dust", "hair"]
    assert not detection_panels([wide], [empty], [empty], ["cell"]).legends


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "annotations of 1 and detections of 1 images for 0 images"),
        ([torch.zeros(3, 4, 4)], r"uint8 \(3, H, W\), got float32 \(3, 4, 4\)"),
        ([torch.zeros(1, 4, 4, dtype=torch.uint8)], r"got uint8 \(1, 4, 4\)"),
    ],
)
def test_panels_refuse(images, message):
    with pytest.raises(ValueError, match=message):
        detection_panels(images, [{}], [{}], ["cell"])


@pytest.fixture
def config(tmp_path):
    """A very small detector, and three images with two boxes each."""
    images = [dict(id=number, file_name=f"{number}.png", width=WIDTH, height=HEIGHT) for number in (1, 2, 3)]
    boxes = [
        dict(id=2 * number + label, image_id=number, category_id=label, bbox=[8 * number, 5, 16, 20])
        for number in (1, 2, 3)
        for label in (0, 1)
    ]
    categories = [dict(id=label, name=name) for label, name in enumerate(CLASSES)]
    content = dict(images=images, annotations=boxes, categories=categories)
    (tmp_path / "cells.json").write_text(json.dumps(content))
    random = np.random.default_rng(0)
    for number in (1, 2, 3):
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    init_default_scope("ssl_ext")
    return Config(
        dict(
            default_scope="ssl_ext",
            model=dict(
                type="FasterRCNN",
                backbone=dict(type="ResNet", depth=18, stem_channels=8, base_channels=8),
                num_classes=len(CLASSES),
                anchor_sizes=(16,),
                roi_size=2,
                rpn=dict(pre_nms=(20, 20), post_nms=(10, 10)),
                data_preprocessor=dict(
                    type="DetectionPreprocessor", mean=[0.5] * 3, std=[0.25] * 3, test_short_side=96
                ),
            ),
            evaluation_dataset=dict(
                type="CocoDetection", data_root=str(tmp_path), annotation_file="cells.json"
            ),
        )
    )


@pytest.fixture
def checkpoint(config, tmp_path):
    path = tmp_path / "iter_5.pth"
    state = random_network(config, seed=7, device=torch.device("cpu")).state_dict()
    torch.save(dict(state_dict=state, meta=dict(cfg=config.pretty_text)), path)
    return path


def test_figure_of_a_checkpoint(config, checkpoint):
    figure = detections_figure(config, checkpoint, images=2, threshold=0.3, seed=1)
    rows = torch.randperm(3, generator=torch.Generator().manual_seed(1))[:2].tolist()
    network = random_network(config, seed=0, device=torch.device("cpu"))
    network.load_state_dict(torch.load(checkpoint)["state_dict"])
    for row, left, right in zip(rows, figure.axes[::2], figure.axes[1::2], strict=True):
        pixels = torch.from_numpy(np.asarray(left.get_images()[0].get_array()).copy()).permute(2, 0, 1)
        corners = [8.0 * (row + 1), 5, 8 * (row + 1) + 16, 25]
        assert [list(box[:4]) for box in shown(left)] == [corners, corners]
        (found,) = network.predict(**network.data_preprocessor(dict(inputs=[pixels]), False))
        drawn = found["boxes"][found["scores"] >= 0.3]
        assert len(drawn) > 0
        np.testing.assert_allclose([box[:4] for box in shown(right)], drawn, atol=1e-3)
    # The means of the checkpoint override those of the config.
    config.model.data_preprocessor.mean = [0.1] * 3
    again = detections_figure(config, checkpoint, images=2, threshold=0.3, seed=1)
    assert [shown(axes) for axes in again.axes] == [shown(axes) for axes in figure.axes]


def test_refusals(config, checkpoint, tiny_config, tmp_path):
    for images in (0, 4):
        with pytest.raises(UserError, match=rf"--images is {images}; from 1 to 3 images"):
            detections_figure(config, checkpoint, images=images)
    refuse = functools.partial(detections_figure, images=1)
    with pytest.raises(UserError, match=r"--threshold is 1.5; it must lie in \[0, 1\]"):
        refuse(config, checkpoint, threshold=1.5)
    with pytest.raises(UserError, match="model is a TriMix: detections need a FasterRCNN"):
        refuse(tiny_config, checkpoint)
    with pytest.raises(UserError, match="does not hold the detector of the config: 4 tensors .*roi_heads"):
        refuse(config, checkpoint, options={"model.num_classes": 5})
    with pytest.raises(UserError, match="evaluation_dataset: .*gone.json"):
        refuse(config, checkpoint, options={"evaluation_dataset.annotation_file": "gone.json"})
    options = {"evaluation_dataset.classes": ["cell"], "evaluation_dataset.ignore_other_classes": True}
    with pytest.raises(UserError, match=r"num_classes is 2 and evaluation_dataset has \('cell',\)"):
        refuse(config, checkpoint, options=options)
    state = {
        name: value for name, value in torch.load(checkpoint)["state_dict"].items() if "backbone" in name
    }
    pretrained = dict(state_dict=state, meta=dict(cfg=config.pretty_text))
    torch.save(pretrained, tmp_path / "pretrained.pth")
    with pytest.raises(UserError, match="pretrained.pth' does not hold the detector of the config"):
        refuse(config, tmp_path / "pretrained.pth")


def test_tool_writes_both_formats(config, checkpoint, tmp_path, monkeypatch):
    tool = importlib.import_module("ssl_ext.cli.visualize")
    config.dump(tmp_path / "detector.py")
    words = [
        "detections",
        str(tmp_path / "detector.py"),
        str(checkpoint),
        "--images",
        "1",
        "--threshold",
        "0.3",
    ]
    monkeypatch.setattr(sys, "argv", ["visualize.py", *words, "--out", str(tmp_path / "figures")])
    tool.main()
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "detections.pdf",
        "detections.png",
    ]
