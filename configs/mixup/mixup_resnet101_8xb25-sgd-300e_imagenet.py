_base_ = "./vanilla_resnet101_8xb25-sgd-300e_imagenet.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup", alphas="imagenet"))
