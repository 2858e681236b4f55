# USPS: 7,291 grey training images of digits, 16 px enlarged to 32, 10 classes, 3 equal channels.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="USPS", split="train", data_root="data/usps", as_rgb=True, image_size=32),
)
evaluation_dataset = dict(type="USPS", data_root="data/usps", as_rgb=True, image_size=32)
# Commonly used statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.2469, 0.2469, 0.2469], std=[0.2989, 0.2989, 0.2989])
