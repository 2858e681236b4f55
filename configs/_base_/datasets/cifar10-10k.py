# The first 1,000 training and 200 test images of each class of CIFAR-10; configs/README.md makes the file.
_base_ = "./cifar10.py"

train_dataloader = dict(dataset=dict(type="NPZDataset", data_root="data/cifar10-10k.npz"))
evaluation_dataset = dict(type="NPZDataset", data_root="data/cifar10-10k.npz")
