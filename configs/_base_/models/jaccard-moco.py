_base_ = "./jaccard-simclr.py"

model = dict(
    type="JaccardMoCo",
    # Statistics of the whole batch would give the key away.
    backbone=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    neck=dict(norm_cfg=dict(type="SplitBN", num_splits=8)),
    queue_size=4096,
    momentum=0.99,
)
