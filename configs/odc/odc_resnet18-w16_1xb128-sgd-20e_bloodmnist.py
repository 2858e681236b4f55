# Minutes on a CPU: a quarter of ResNet-18's width, four times as many clusters as there are classes.
_base_ = [
    "../_base_/datasets/bloodmnist.py",
    "../_base_/models/odc.py",
    "../_base_/views/crop-jitter-flip-grey-x1.py",
    "../_base_/schedules/sgd-cosine-20e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="ResNet", stem_channels=16, base_channels=16),
    neck=dict(in_channels=128),
    head=dict(num_clusters=32),
)
train_dataloader = dict(batch_size=128)
