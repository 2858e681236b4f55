_base_ = "./pirl-jigsaw_resnet18_1xb256-adam-200e_cifar10.py"

model = dict(pretext="rotation")
