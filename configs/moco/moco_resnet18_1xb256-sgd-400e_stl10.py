_base_ = [
    "../_base_/datasets/stl10.py",
    "../_base_/models/moco-v2.py",
    "../_base_/views/moco-v2-96px.py",
    "../_base_/schedules/sgd-moco-v2-400e.py",
    "../_base_/default_runtime.py",
]

# 96 px: the ImageNet stem.
model = dict(backbone=dict(type="ResNet"))
