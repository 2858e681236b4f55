_base_ = "../moco/moco_resnet18_1xb256-sgd-400e_stl10.py"

# SwAV's assignments need no queue, and its statistics are those of the whole batch. Prototypes are frozen for
# the first epoch (410 steps of 256 images).
model = dict(
    _delete_=True,
    type="SwAV",
    backbone=dict(
        type="ResNet", depth=18, num_stages=4, out_indices=(3,), style="pytorch", zero_init_residual=False
    ),
    neck=dict(type="MoCoV2Neck", in_channels=512, hid_channels=512, out_channels=128, with_avg_pool=False),
    freeze_prototypes_steps=410,
    head=dict(type="SwAVHead", in_channels=128, num_prototypes=512),
)
# Weight decay alone would change frozen prototypes.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"head.prototypes": dict(decay_mult=0.0)}))
