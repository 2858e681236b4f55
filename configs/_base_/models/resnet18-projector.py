# ResNet-18 with the stem for small images (3x3, no pooling) and a 3-layer MLP 1024-1024-1024 with
# batch normalisation and ReLU after each hidden layer.
model = dict(
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        num_stages=4,
        out_indices=(3,),
        style="pytorch",
        zero_init_residual=False,
    ),
    neck=dict(
        type="NonLinearNeck",
        in_channels=512,
        hid_channels=1024,
        out_channels=1024,
        num_layers=3,
        with_avg_pool=False,
        with_last_bn=False,
        norm_cfg=dict(type="BN1d"),
    ),
)
