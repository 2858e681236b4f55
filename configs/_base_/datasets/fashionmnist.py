# FashionMNIST: 60,000 grey training images of clothing, 28 px enlarged to 32, 10 classes, 3 equal channels.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="FashionMNIST", split="train", data_root="data", as_rgb=True, image_size=32),
)
evaluation_dataset = dict(type="FashionMNIST", data_root="data", as_rgb=True, image_size=32)
# Commonly used statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.2860, 0.2860, 0.2860], std=[0.3530, 0.3530, 0.3530])
