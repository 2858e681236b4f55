_base_ = [
    "../_base_/datasets/imagenet-256px.py",
    "../_base_/models/moco-v2.py",
    "../_base_/views/moco-v2-224px.py",
    "../_base_/schedules/sgd-moco-v2-200e.py",
    "../_base_/default_runtime.py",
]

# Parts of eight images: the 32 images of a process in four parts.
model = dict(backbone=dict(type="ResNet", norm_cfg=dict(num_splits=4)))
auto_scale_lr = dict(base_batch_size=256)
