_base_ = [
    "../_base_/datasets/stl10.py",
    "../_base_/models/simclr.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]

# 96 px: the ImageNet stem.
model = dict(backbone=dict(type="ResNet"))
