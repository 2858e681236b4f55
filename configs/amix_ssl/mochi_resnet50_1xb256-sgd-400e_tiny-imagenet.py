_base_ = "../moco/moco_resnet50_1xb256-sgd-400e_tiny-imagenet.py"

model = dict(type="MoCHi", head=dict(type="MoCHiHead", num_hard=1024, num_mixed=1024, num_with_query=128))
