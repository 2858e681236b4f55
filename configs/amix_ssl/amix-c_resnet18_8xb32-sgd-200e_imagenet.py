_base_ = "./amix-i_resnet18_8xb32-sgd-200e_imagenet.py"

model = dict(type="AMixC", labels=dict(source="pseudo", num_classes=200))
