# A quarter of the width.
_base_ = "./random_resnet18-c4_1xb4-sgd-1k_bccd.py"

model = dict(backbone=dict(stem_channels=16, base_channels=16))
