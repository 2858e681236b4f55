_base_ = "./moco_resnet18_1xb256-sgd-400e_stl10.py"

model = dict(backbone=dict(depth=50), neck=dict(in_channels=2048, hid_channels=2048))
