_base_ = "../mixup/vanilla_resnext50_1xb100-sgd-400e_tiny-imagenet.py"

model = dict(type="AutoMix", mix_block=dict(in_channels=1024))
