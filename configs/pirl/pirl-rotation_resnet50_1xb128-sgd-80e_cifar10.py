_base_ = "./pirl-jigsaw_resnet50_1xb128-sgd-80e_cifar10.py"

model = dict(pretext="rotation")
