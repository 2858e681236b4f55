_base_ = "./resnet18-predictor.py"

# As in the paper the projector ends in batch normalisation, and the predictor is a bottleneck of a
# quarter of the width.
model = dict(
    type="SimSiam",
    neck=dict(with_last_bn=True, with_last_bn_affine=False),
    predictor=dict(hid_channels=256),
)
