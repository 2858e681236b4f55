_base_ = "./random_resnet50-cifar-stem-c4_8xb2-sgd-24k_voc0712.py"

init = dict(
    checkpoint="work_dirs/swav_resnet18_1xb256-adam-200e_cifar10/epoch_200.pth",
    pretraining="configs/swav/swav_resnet18_1xb256-adam-200e_cifar10.py",
)
