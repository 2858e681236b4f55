_base_ = "./mix-moco_resnet50_1xb256-sgd-400e_tiny-imagenet.py"

model = dict(policy=dict(name="inter_intra"), labels=dict(source="pseudo", num_classes=200))
