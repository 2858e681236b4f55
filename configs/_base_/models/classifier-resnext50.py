# ResNeXt-50 (32x4d) with the stem for small images and a linear classifier.
_base_ = "./classifier-resnet18.py"

model = dict(
    backbone=dict(type="ResNeXt_CIFAR", depth=50, groups=32, width_per_group=4), head=dict(in_channels=2048)
)
