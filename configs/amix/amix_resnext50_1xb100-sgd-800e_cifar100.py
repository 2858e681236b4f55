_base_ = "../mixup/vanilla_resnext50_1xb100-sgd-800e_cifar100.py"

model = dict(type="AMix", mix_block=dict(in_channels=1024))
