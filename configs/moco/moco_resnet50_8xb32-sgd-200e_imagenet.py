_base_ = "./moco_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(backbone=dict(depth=50), neck=dict(in_channels=2048, hid_channels=2048))
