# The projector of resnet50-projector.py and a predictor 512-128 on it, which is compared with projections.
_base_ = "./resnet50-projector.py"

model = dict(
    predictor=dict(
        type="NonLinearNeck",
        in_channels=128,
        hid_channels=512,
        out_channels=128,
        num_layers=2,
        with_avg_pool=False,
        with_last_bn=False,
        norm_cfg=dict(type="BN1d"),
    ),
    head=dict(type="CosineRegressionHead"),
)
