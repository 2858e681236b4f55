_base_ = "./vanilla_resnet18-w16_1xb100-sgd-30e_cifar10-10k.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup"))
