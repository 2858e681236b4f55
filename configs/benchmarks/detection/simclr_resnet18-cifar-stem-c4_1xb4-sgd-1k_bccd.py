_base_ = "./random_resnet18-cifar-stem-c4_1xb4-sgd-1k_bccd.py"

init = dict(
    checkpoint="work_dirs/simclr_resnet18_1xb256-adam-200e_bloodmnist/epoch_200.pth",
    pretraining="configs/simclr/simclr_resnet18_1xb256-adam-200e_bloodmnist.py",
)
