# CUB-200-2011: 5,994 training images of 200 species of birds, at 224 px; loaded as ImageNet.
_base_ = "./imagenet-crops.py"

train_dataloader = dict(
    dataset=dict(type="CUB200", data_root="data/cub200"),
)
evaluation_dataset = dict(type="CUB200", data_root="data/cub200")
