_base_ = "../mixup/vanilla_resnet18_1xb16-sgd-200e_fgvc-aircraft.py"

model = dict(type="AutoMix", mix_block=dict(in_channels=256))
