_base_ = "../mixup/vanilla_resnet34_8xb25-sgd-300e_imagenet.py"

model = dict(type="AutoMix", mix_block=dict(in_channels=256))
