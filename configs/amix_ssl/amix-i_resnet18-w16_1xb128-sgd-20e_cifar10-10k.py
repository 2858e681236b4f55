_base_ = "../moco/moco_resnet18-w16_1xb128-sgd-20e_cifar10-10k.py"

# With the ImageNet stem, images of 32 px have 2 x 2 positions after stage 3 and 4 x 4 after stage 2.
model = dict(
    type="AMixI",
    feature_stage=2,
    mix_block=dict(in_channels=32),
    head=dict(type="AMixHead"),
)
