_base_ = "./random_resnet50-cifar-stem-c4_8xb2-sgd-24k_voc0712.py"

init = dict(
    checkpoint="work_dirs/jaccard-simclr_resnet50_1xb256-adam-500e_tiny-imagenet/epoch_500.pth",
    pretraining="configs/jaccard/jaccard-simclr_resnet50_1xb256-adam-500e_tiny-imagenet.py",
)
