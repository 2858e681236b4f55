_base_ = [
    "../_base_/datasets/cifar10-10k.py",
    "../_base_/models/byol.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/sgd-cosine-20e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    momentum=0.99,
    momentum_schedule="constant",  # a rise to 1 within 20 epochs would freeze the targets too early
    backbone=dict(type="ResNet", stem_channels=16, base_channels=16),
    neck=dict(in_channels=128),
)
train_dataloader = dict(batch_size=128)
