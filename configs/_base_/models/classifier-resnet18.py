# ResNet-18 with the stem for small images (3x3, no pooling) and a linear classifier.
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        num_stages=4,
        out_indices=(3,),
        style="pytorch",
        zero_init_residual=False,
    ),
    head=dict(type="LinearClsHead", in_channels=512),
)
