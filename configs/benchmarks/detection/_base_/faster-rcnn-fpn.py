# torchvision's defaults for a feature pyramid, with normalisation in pyramid and head.
_base_ = "./faster-rcnn-c4.py"

model = dict(
    layout="FPN",
    roi_size=7,
    rpn=dict(pre_nms=(2000, 1000), post_nms=(2000, 1000)),
)
