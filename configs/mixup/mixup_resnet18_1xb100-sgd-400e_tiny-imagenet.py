_base_ = "./vanilla_resnet18_1xb100-sgd-400e_tiny-imagenet.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup", alphas="tiny-imagenet"))
