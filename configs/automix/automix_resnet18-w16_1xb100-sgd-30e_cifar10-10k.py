_base_ = "../mixup/vanilla_resnet18-w16_1xb100-sgd-30e_cifar10-10k.py"

# With the ImageNet stem, images of 32 px have 2 x 2 positions after stage 3 and 4 x 4 after stage 2. With a
# momentum of 0.999 the EMA would still hold 5 % of the initial weights after 3,000 steps, and the mix block
# would hardly be trained.
model = dict(type="AutoMix", mix_block=dict(in_channels=32), feature_stage=2, momentum=0.99)
