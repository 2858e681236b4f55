# CIFAR-10: 50,000 training images of 32 px, 10 classes.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="CIFAR10", split="train", data_root="data/cifar10"),
)
evaluation_dataset = dict(type="CIFAR10", data_root="data/cifar10")
# Statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616])
