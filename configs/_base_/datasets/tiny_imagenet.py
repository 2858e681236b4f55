# Tiny ImageNet: 100,000 training images of 64 px, 200 classes; 'test' is the official val part.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="TinyImageNet", split="train", data_root="data/tiny_imagenet"),
)
evaluation_dataset = dict(type="TinyImageNet", data_root="data/tiny_imagenet")
# ImageNet's statistics.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
