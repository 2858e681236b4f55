_base_ = "./pirl-jigsaw_resnet50_1xb32-adam-80e_cifar10.py"

model = dict(pretext="rotation")
