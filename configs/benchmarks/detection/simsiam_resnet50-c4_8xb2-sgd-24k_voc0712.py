_base_ = "./random_resnet50-c4_8xb2-sgd-24k_voc0712.py"

init = dict(
    checkpoint="work_dirs/simsiam_resnet50_1xb128-sgd-80e_stl10/epoch_80.pth",
    pretraining="configs/simsiam/simsiam_resnet50_1xb128-sgd-80e_stl10.py",
)
