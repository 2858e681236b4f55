_base_ = "../moco/moco_resnet18_1xb256-sgd-400e_tiny-imagenet.py"

model = dict(type="BSIM", head=dict(type="MixMoCoHead", plain_weight=0.5, mixed_weight=0.5))
