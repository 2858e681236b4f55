_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/resnet18-projector.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/default_runtime.py",
]

model = dict(
    type="WMSE",
    neck=dict(out_channels=64, num_layers=2),
    head=dict(type="WMSEHead", whitening_size=128),
)
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3e-3, weight_decay=1e-6))
# 500 steps of warm-up; a fifth of the rate from 50 and again from 25 epochs before the end.
param_scheduler = [
    dict(type="LinearLR", start_factor=2e-3, by_epoch=False, end=500),
    dict(type="MultiStepLR", milestones=[950, 975], gamma=0.2, by_epoch=True),
]
train_cfg = dict(by_epoch=True, max_epochs=1000)
