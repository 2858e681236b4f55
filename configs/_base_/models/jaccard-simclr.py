# Two projectors 2048-128 on one feature.
_base_ = "./resnet50-projector.py"

model = dict(
    type="JaccardSimCLR",
    neck=dict(type="BiProjector", hid_channels=2048),
    head=dict(type="JaccardHead", alpha=(1 / 3, 1 / 3), temperature=0.5, intersection="clamp", eps=1e-3),
)
