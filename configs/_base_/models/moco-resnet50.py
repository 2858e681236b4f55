_base_ = "./resnet50-projector.py"

# MoCo v2 with a queue that suits sets of 50,000 images (65,536 and 0.999 are for ImageNet).
model = dict(
    type="MoCo",
    # Split statistics keep batch normalisation from leaking which key is the positive.
    backbone=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    neck=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    queue_size=4096,
    momentum=0.99,
    head=dict(type="MoCoHead", temperature=0.2),
)
