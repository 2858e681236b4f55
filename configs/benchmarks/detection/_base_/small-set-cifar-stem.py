# A stem without striding: a quarter of the stride, so images and anchors of a quarter of the size.
_base_ = "./small-set.py"

model = dict(
    backbone=dict(type="ResNet_CIFAR"),
    anchor_sizes=(4, 8, 16, 32, 64),
    data_preprocessor=dict(
        short_sides=(60, 64, 68, 72, 76, 80), test_short_side=72, max_size=120, size_divisible=8
    ),
)
