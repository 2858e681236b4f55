_base_ = "../moco/moco_resnet18_1xb256-sgd-400e_tiny-imagenet.py"

model = dict(
    type="MixMoCo",
    policy=dict(type="MixingPolicy", name="mixup", alphas="self-supervised"),
    head=dict(type="MixMoCoHead"),
)
