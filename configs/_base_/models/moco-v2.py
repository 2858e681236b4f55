_base_ = "./moco.py"

# MoCo v2 as published, on ResNet-18: a projector without batch normalisation, as wide as the features.
model = dict(
    neck=dict(
        _delete_=True,
        type="MoCoV2Neck",
        in_channels=512,
        hid_channels=512,
        out_channels=128,
        with_avg_pool=False,
    ),
    queue_size=65536,
    momentum=0.999,
)
