# The quick start: a ResNet-18 of a quarter of the width on scikit-learn's digits, minutes on two cores.
_base_ = [
    "../_base_/datasets/digits.py",
    "../_base_/models/trimix.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]

# Digits are centred and upright and must not be mirrored: small crops and rotations only.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomRotation", degrees=15),
            dict(type="RandomResizedCrop", scale=(0.7, 1.0)),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, p=0.8),
        ],
    )
]
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    neck=dict(in_channels=128, hid_channels=512, out_channels=512),
    # The Barlow Twins terms grow with the embedding size; on half of the paper's 1024 dimensions its
    # weight of 200 makes self-consistency dominate. Selected on the validation split.
    head=dict(temperature=0.1, consistency_weight=50.0),
)
train_dataloader = dict(batch_size=64, dataset=dict(image_size=16))
evaluation_dataset = dict(image_size=16)
train_cfg = dict(max_epochs=100)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=100, by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(
    logger=dict(interval=8),
    checkpoint=dict(interval=25),
)
evaluation = dict(
    # Candidate lists are decided on the validation split.
    knn=dict(k=[1, 5, 10, 20, 50, 100, 200]),
    linear_aug=dict(epochs=30, augment="views"),
    finetune=dict(epochs=40, min_steps=400),
)
