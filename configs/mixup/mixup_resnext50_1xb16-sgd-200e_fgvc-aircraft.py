_base_ = "./vanilla_resnext50_1xb16-sgd-200e_fgvc-aircraft.py"

model = dict(type="MixupClassifier", policy=dict(type="MixingPolicy", name="mixup", alphas="fine-grained"))
