# ResNet-50-C4 with Detectron2's settings, as in MoCo's protocol.
model = dict(
    type="FasterRCNN",
    layout="C4",
    backbone=dict(type="ResNet", depth=50, style="pytorch", zero_init_residual=False),
    anchor_sizes=(32, 64, 128, 256, 512),
    roi_size=14,
    rpn=dict(batch_size=256, positive_fraction=0.5, pre_nms=(12000, 6000), post_nms=(2000, 1000)),
    roi=dict(batch_size=512, positive_fraction=0.25),
    # For random weights; pretraining runs define their own mean and std.
    data_preprocessor=dict(
        type="DetectionPreprocessor",
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        short_sides=(480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
        test_short_side=800,
        max_size=1333,
    ),
)
# Pretrained weights and their config.
init = dict(checkpoint=None, pretraining=None)
