_base_ = "../moco/moco_resnet50_8xb32-sgd-200e_imagenet.py"

model = dict(type="BSIM", head=dict(type="MixMoCoHead", plain_weight=0.5, mixed_weight=0.5))
