_base_ = [
    "../_base_/datasets/imagenet-256px.py",
    "../_base_/models/moco-v2.py",
    "../_base_/views/moco-v2-224px.py",
    "../_base_/schedules/sgd-moco-v2-200e.py",
    "../_base_/default_runtime.py",
]

model = dict(backbone=dict(type="ResNet"))
auto_scale_lr = dict(base_batch_size=256)
