_base_ = "../mixup/vanilla_resnet18-w16_1xb100-sgd-30e_cifar10-10k.py"

# With the ImageNet stem 32 px leave 2 x 2 positions after stage 3, and 4 x 4 after stage 2. In 3,000 steps a
# momentum of 0.999 would keep a fifth of the first weights, and the block hardly leave its start.
model = dict(type="AMix", mix_block=dict(in_channels=32), feature_stage=2, momentum=0.99)
