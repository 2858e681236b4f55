_base_ = "./resnet50-predictor.py"

# As in the paper the projector ends in batch normalisation.
model = dict(type="SimSiam", neck=dict(with_last_bn=True, with_last_bn_affine=False))
