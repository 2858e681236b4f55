# torchvision's resnet50 (IMAGENET1K_V1), downloaded beforehand.
_base_ = "./random_resnet50-c4_8xb2-sgd-24k_voc0712.py"

init = dict(checkpoint="work_dirs/resnet50-0676ba61.pth", pretraining="torchvision")
