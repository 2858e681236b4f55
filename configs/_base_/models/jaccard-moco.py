_base_ = "./jaccard-simclr.py"

model = dict(
    type="JaccardMoCo",
    # Split statistics keep batch normalisation from leaking which key is the positive.
    backbone=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    neck=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    queue_size=4096,
    momentum=0.999,
)
