# KMNIST: 60,000 grey training images of cursive Japanese, 28 px enlarged to 32, 10 classes, 3 equal channels.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="KMNIST", split="train", data_root="data", as_rgb=True, image_size=32),
)
evaluation_dataset = dict(type="KMNIST", data_root="data", as_rgb=True, image_size=32)
# Commonly used statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.1918, 0.1918, 0.1918], std=[0.3483, 0.3483, 0.3483])
