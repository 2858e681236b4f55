# Linear classification of AMix (Sec. 4.2): 100 epochs of SGD, the rate falls to a tenth at epochs 30 and 60.
# 0.1 is for STL-10 and Tiny ImageNet.
_base_ = "./default_runtime.py"

evaluation = dict(
    linear=dict(lr=0.1, weight_decay=0.0, milestones=[0.3, 0.6]),
    linear_aug=dict(milestones=[0.3, 0.6]),
)
