_base_ = "../mixup/vanilla_resnext50_1xb16-sgd-200e_cub200.py"

model = dict(type="AutoMix", mix_block=dict(in_channels=1024))
