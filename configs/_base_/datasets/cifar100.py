# CIFAR-100: 50,000 training images of 32 px, 100 classes.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="CIFAR100", split="train", data_root="data/cifar100"),
)
evaluation_dataset = dict(type="CIFAR100", data_root="data/cifar100")
# Statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.5071, 0.4865, 0.4409], std=[0.2673, 0.2564, 0.2762])
