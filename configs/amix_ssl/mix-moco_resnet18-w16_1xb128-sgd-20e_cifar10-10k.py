_base_ = "../moco/moco_resnet18-w16_1xb128-sgd-20e_cifar10-10k.py"

model = dict(
    type="MixMoCo",
    policy=dict(type="MixingPolicy", name="mixup", alphas="self-supervised"),
    head=dict(type="MixMoCoHead"),
)
