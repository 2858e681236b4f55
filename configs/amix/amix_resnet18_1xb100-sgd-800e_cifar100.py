_base_ = "../mixup/vanilla_resnet18_1xb100-sgd-800e_cifar100.py"

model = dict(type="AMix", mix_block=dict(in_channels=256))
