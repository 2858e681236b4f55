_base_ = "../mixup/vanilla_resnet18_1xb16-sgd-200e_fgvc-aircraft.py"

# From pretrained weights the block's γ starts at 1 and its rate is ten times the network's. The paper's
# γ starts at 0, from where it often does not learn λ.
model = dict(type="AMix", mix_block=dict(in_channels=256, gamma_init=1.0))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(mix_block=dict(lr_mult=10))))
