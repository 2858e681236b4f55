_base_ = "./amix-i_resnet18-w16_1xb128-sgd-20e_cifar10-10k.py"

model = dict(type="AMixC", labels=dict(source="pseudo", num_classes=100))
