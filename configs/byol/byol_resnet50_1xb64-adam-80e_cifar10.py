_base_ = "./byol_resnet50_1xb128-adam-80e_cifar10.py"

train_dataloader = dict(batch_size=64)
