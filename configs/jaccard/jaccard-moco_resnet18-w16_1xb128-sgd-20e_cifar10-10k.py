_base_ = [
    "../_base_/datasets/cifar10-10k.py",
    "../_base_/models/jaccard-moco.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/sgd-cosine-20e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    momentum=0.99,
    backbone=dict(depth=18, type="ResNet", stem_channels=16, base_channels=16),
    neck=dict(in_channels=128, hid_channels=1024, out_channels=1024, num_layers=3),
    head=dict(temperature=0.2),
)
train_dataloader = dict(batch_size=128)
