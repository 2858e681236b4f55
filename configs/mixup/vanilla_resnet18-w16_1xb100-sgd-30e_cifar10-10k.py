_base_ = [
    "../_base_/datasets/cifar10-10k.py",
    "../_base_/models/classifier-resnet18.py",
    "../_base_/views/pad-crop-flip.py",
    "../_base_/schedules/sgd-cosine-30e.py",
    "../_base_/classification_runtime.py",
]

model = dict(
    backbone=dict(type="ResNet", stem_channels=16, base_channels=16),
    head=dict(in_channels=128, num_classes=10),
)
train_dataloader = dict(batch_size=100)
# Keep a checkpoint every ten epochs, for figures of the masks during training.
default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1))
