# BloodMNIST: 11,959 training images of blood cells, 28 px, 8 classes.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(
        type="MedMNIST", split="train", name="bloodmnist", data_root="data/medmnist", size=28, as_rgb=True
    ),
)
evaluation_dataset = dict(type="MedMNIST", name="bloodmnist", data_root="data/medmnist", size=28, as_rgb=True)
# As usual for MedMNIST: maps [0, 1] to [-1, 1].
data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
