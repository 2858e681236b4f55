_base_ = "../moco/moco_resnet50_1xb256-sgd-400e_stl10.py"

model = dict(
    type="MixMoCo",
    policy=dict(type="MixingPolicy", name="mixup", alphas="self-supervised"),
    head=dict(type="MixMoCoHead"),
)
