# The projector of resnet18-projector.py and a predictor 1024-1024 on it, which is compared with projections.
_base_ = "./resnet18-projector.py"

model = dict(
    predictor=dict(
        type="NonLinearNeck",
        in_channels=1024,
        hid_channels=1024,
        out_channels=1024,
        num_layers=2,
        with_avg_pool=False,
        with_last_bn=False,
        norm_cfg=dict(type="BN1d"),
    ),
    head=dict(type="CosineRegressionHead"),
)
