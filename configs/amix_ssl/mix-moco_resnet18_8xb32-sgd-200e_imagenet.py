_base_ = "../moco/moco_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(
    type="MixMoCo",
    policy=dict(type="MixingPolicy", name="mixup", alphas="self-supervised"),
    head=dict(type="MixMoCoHead"),
)
