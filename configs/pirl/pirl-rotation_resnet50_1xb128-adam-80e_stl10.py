_base_ = "./pirl-jigsaw_resnet50_1xb128-adam-80e_stl10.py"

model = dict(pretext="rotation")
