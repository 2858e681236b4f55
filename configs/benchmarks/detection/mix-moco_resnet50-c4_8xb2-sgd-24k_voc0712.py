_base_ = "./random_resnet50-c4_8xb2-sgd-24k_voc0712.py"

init = dict(
    checkpoint="work_dirs/mix-moco_resnet50_8xb32-sgd-200e_imagenet/epoch_200.pth",
    pretraining="configs/amix_ssl/mix-moco_resnet50_8xb32-sgd-200e_imagenet.py",
)
