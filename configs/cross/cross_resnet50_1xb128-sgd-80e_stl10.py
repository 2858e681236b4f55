_base_ = [
    "../_base_/datasets/stl10.py",
    "../_base_/models/cross-resnet50.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/sgd-cosine-80e.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=128)
# 96 px: the ImageNet stem.
model = dict(backbone=dict(type="ResNet"))
