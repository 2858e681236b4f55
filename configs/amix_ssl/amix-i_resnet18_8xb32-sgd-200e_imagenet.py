_base_ = "../moco/moco_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(
    type="AMixI",
    mix_block=dict(in_channels=256),
    head=dict(type="AMixHead"),
)
