# RetinaMNIST: 1,080 training images of the fundus, 28 px, 5 ordered grades.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(
        type="MedMNIST", split="train", name="retinamnist", data_root="data/medmnist", size=28, as_rgb=True
    ),
)
evaluation_dataset = dict(
    type="MedMNIST", name="retinamnist", data_root="data/medmnist", size=28, as_rgb=True
)
# As usual for MedMNIST: maps [0, 1] to [-1, 1].
data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
