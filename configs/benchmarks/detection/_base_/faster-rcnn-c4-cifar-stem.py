# The stem has no stride, so the total stride, image sizes and anchors are a quarter of the usual.
_base_ = "./faster-rcnn-c4.py"

model = dict(
    backbone=dict(type="ResNet_CIFAR"),
    anchor_sizes=(8, 16, 32, 64, 128),
    data_preprocessor=dict(
        short_sides=(120, 128, 136, 144, 152, 160, 168, 176, 184, 192, 200),
        test_short_side=200,
        max_size=333,
        size_divisible=8,
    ),
)
