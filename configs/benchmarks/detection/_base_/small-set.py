# ResNet-18-C4 on small images, with torchvision's settings reduced for CPUs.
_base_ = "./faster-rcnn-c4.py"

model = dict(
    backbone=dict(depth=18),
    anchor_sizes=(16, 32, 64, 128, 256),
    roi_size=7,
    rpn=dict(pre_nms=(1000, 500), post_nms=(500, 200)),
    roi=dict(batch_size=64),
    data_preprocessor=dict(short_sides=(240, 256, 272, 288, 304, 320), test_short_side=288, max_size=480),
)
