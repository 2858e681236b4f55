_base_ = "../mixup/vanilla_resnet18_1xb16-sgd-200e_cub200.py"

model = dict(type="AMix", mix_block=dict(in_channels=256))
