_base_ = "./pirl-jigsaw_resnet50_1xb64-adam-80e_stl10.py"

model = dict(pretext="rotation")
