_base_ = "../mixup/vanilla_resnext50_1xb16-sgd-200e_cub200.py"

# From pretrained weights the block's rate is ten times the network's.
model = dict(type="AutoMix", mix_block=dict(in_channels=1024))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(mix_block=dict(lr_mult=10))))
