import copy

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

COLOURS = dict(red=(200, 40, 40), blue=(40, 40, 200))
XML = """<annotation><filename>{name}.png</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>0</difficult><bndbox>
<xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""

TINY_DETECTOR = dict(
    default_scope="ssl_ext",
    randomness=dict(seed=0),
    model=dict(
        type="FasterRCNN",
        num_classes=2,
        layout="C4",
        backbone=dict(
            type="ResNet_CIFAR", depth=18, stem_channels=8, base_channels=8, zero_init_residual=False
        ),
        anchor_sizes=(8, 16, 32),
        aspect_ratios=(1.0,),
        roi_size=4,
        rpn=dict(batch_size=64, pre_nms=(100, 100), post_nms=(50, 50)),
        roi=dict(batch_size=16),
        data_preprocessor=dict(
            type="DetectionPreprocessor",
            mean=[0.5] * 3,
            std=[0.5] * 3,
            short_sides=(40, 48),
            test_short_side=48,
            max_size=80,
            size_divisible=8,
        ),
    ),
    init=dict(checkpoint=None, pretraining=None),
    train_dataloader=dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        collate_fn=dict(type="collate_detection"),
        dataset=dict(type="VOCDetection", splits="trainval", classes=("red", "blue")),
    ),
    evaluation_dataset=dict(type="VOCDetection", splits="trainval", classes=("red", "blue")),
    optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)),
    param_scheduler=[dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=2)],
    train_cfg=dict(by_epoch=False, max_iters=4),
    default_hooks=dict(
        runtime_info=dict(type="TrainLogHook"),
        logger=dict(type="LoggerHook", interval=2),
        checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
    ),
    custom_hooks=[dict(type="RandomStateHook"), dict(type="DetectionEvaluationHook")],
    log_processor=dict(by_epoch=False),
)


def draw_squares(rng, height, width):
    """Draw a grey image with two squares; return it and each (colour, (x1, y1, x2, y2)), maxima exclusive."""
    image = rng.integers(110, 146, (height, width, 3), np.uint8)
    objects = []
    for column in range(2):
        side = int(rng.integers(12, 20))
        x = column * width // 2 + int(rng.integers(0, width // 2 - side))
        y = int(rng.integers(0, height - side))
        name = ("red", "blue")[int(rng.integers(2))]
        image[y : y + side, x : x + side] = COLOURS[name]
        objects.append((name, (x, y, x + side, y + side)))
    return image, objects


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """A folder in VOC's format: eight images of two sizes, each with two coloured squares."""
    root = tmp_path_factory.mktemp("squares")
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(8):
        height, width = ((48, 64), (40, 56))[index % 2]
        image, objects = draw_squares(rng, height, width)
        Image.fromarray(image).save(root / "JPEGImages" / f"{index}.png")
        # VOC counts pixels from 1 and includes the maxima.
        boxes = [OBJECT.format(x1 + 1, y1 + 1, x2, y2, name=name) for name, (x1, y1, x2, y2) in objects]
        text = XML.format(name=index, width=width, height=height, objects="".join(boxes))
        (root / "Annotations" / f"{index}.xml").write_text(text)
    (root / "ImageSets/Main/trainval.txt").write_text("\n".join(map(str, range(8))))
    return root


@pytest.fixture
def detector_config(squares):
    """Config of a training run of a tiny detector on the coloured squares."""
    init_default_scope("ssl_ext")
    config = Config(copy.deepcopy(TINY_DETECTOR))
    config.train_dataloader.dataset.data_root = config.evaluation_dataset.data_root = str(squares)
    return config
