_base_ = "../moco/moco_resnet50_1xb256-sgd-400e_tiny-imagenet.py"

model = dict(
    type="AMixI",
    mix_block=dict(in_channels=1024),
    head=dict(type="AMixHead"),
)
