_base_ = "./vanilla_resnet18_1xb16-sgd-200e_cub200.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup", alphas="fine-grained"))
