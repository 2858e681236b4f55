_base_ = "./random_resnet50-c4_8xb2-sgd-24k_voc0712.py"

init = dict(
    checkpoint="work_dirs/barlow-twins_resnet18_1xb256-adam-200e_stl10/epoch_200.pth",
    pretraining="configs/barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_stl10.py",
)
