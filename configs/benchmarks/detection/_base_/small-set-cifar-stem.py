# The stem has no stride, so the total stride, image sizes and anchors are a quarter of the usual.
_base_ = "./small-set.py"

model = dict(
    backbone=dict(type="ResNet_CIFAR"),
    anchor_sizes=(4, 8, 16, 32, 64),
    data_preprocessor=dict(
        short_sides=(60, 64, 68, 72, 76, 80), test_short_side=72, max_size=120, size_divisible=8
    ),
)
