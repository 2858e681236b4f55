# ResNet-50 with the stem for small images, without projector; for evaluation only.
model = dict(
    type="PlainBackbone",
    backbone=dict(
        type="ResNet_CIFAR",
        depth=50,
        num_stages=4,
        out_indices=(3,),
        style="pytorch",
        zero_init_residual=False,
    ),
)
