# MNIST: 60,000 grey training images of digits, 28 px enlarged to 32, 10 classes, 3 equal channels.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="MNIST", split="train", data_root="data", as_rgb=True, image_size=32),
)
evaluation_dataset = dict(type="MNIST", data_root="data", as_rgb=True, image_size=32)
# Commonly used statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.1307, 0.1307, 0.1307], std=[0.3081, 0.3081, 0.3081])
