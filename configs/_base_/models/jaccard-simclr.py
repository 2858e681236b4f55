# Two projectors 512-128 on one feature.
_base_ = "./resnet50-projector.py"

model = dict(
    type="JaccardSimCLR",
    neck=dict(type="BiProjector"),
    head=dict(type="JaccardHead", alpha=(1 / 3, 1 / 3), temperature=0.5, intersection="guarded", eps=0.05),
)
