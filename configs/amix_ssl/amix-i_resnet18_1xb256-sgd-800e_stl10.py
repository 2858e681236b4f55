_base_ = "../moco/moco_resnet18_1xb256-sgd-800e_stl10.py"

model = dict(
    type="AMixI",
    mix_block=dict(in_channels=256),
    head=dict(type="AMixHead"),
)
