_base_ = "./vanilla_resnet18_1xb100-sgd-800e_stl10.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup", alphas="stl10"))
