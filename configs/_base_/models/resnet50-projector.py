# ResNet-50 with the stem for small images and a 2-layer MLP 512-128.
_base_ = "./resnet18-projector.py"

model = dict(
    backbone=dict(depth=50),
    neck=dict(in_channels=2048, hid_channels=512, out_channels=128, num_layers=2),
)
