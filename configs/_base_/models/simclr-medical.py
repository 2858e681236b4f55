# SimCLR on torchvision's ResNet-18. The projector is the network's own layer of 1,000 outputs, ReLU and a
# second layer, both with bias; evaluation uses the 512 features before it.
model = dict(
    type="SimCLR",
    backbone=dict(
        type="ResNet",
        depth=18,
        num_stages=4,
        out_indices=(3,),
        style="pytorch",
        zero_init_residual=False,
    ),
    neck=dict(type="MoCoV2Neck", in_channels=512, hid_channels=1000, out_channels=128, with_avg_pool=False),
    head=dict(type="SimCLRHead", temperature=0.07),
)
