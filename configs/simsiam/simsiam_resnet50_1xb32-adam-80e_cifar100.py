_base_ = "./simsiam_resnet50_1xb128-adam-80e_cifar100.py"

train_dataloader = dict(batch_size=32)
