_base_ = "./mix-moco_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(policy=dict(name="inter_intra"), labels=dict(source="pseudo", num_classes=200))
