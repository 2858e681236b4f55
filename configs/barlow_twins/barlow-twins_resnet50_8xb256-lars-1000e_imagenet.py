_base_ = [
    "../_base_/datasets/imagenet-256px.py",
    "../_base_/models/barlow-twins.py",
    "../_base_/views/byol-224px.py",
    "../_base_/schedules/lars-cosine-1000e.py",
    "../_base_/default_runtime.py",
]

# The original's: a projector 8 times as wide as for small images.
model = dict(
    backbone=dict(type="ResNet", depth=50),
    neck=dict(in_channels=2048, hid_channels=8192, out_channels=8192),
    head=dict(redundancy_weight=5.1e-3),
)
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=2048)
