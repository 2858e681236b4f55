_base_ = "../moco/moco_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(type="MoCHi", head=dict(type="MoCHiHead", num_hard=1024, num_mixed=1024, num_with_query=128))
