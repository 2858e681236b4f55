# SVHN: 73,257 training images of house numbers, 32 px, 10 classes.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="SVHN", split="train", data_root="data/svhn"),
)
evaluation_dataset = dict(type="SVHN", data_root="data/svhn")
# Commonly used statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.4377, 0.4438, 0.4728], std=[0.1980, 0.2010, 0.1970])
