# For backbones pretrained on images of 28 px.
_base_ = ["./_base_/small-set-cifar-stem.py", "./_base_/bccd.py", "./_base_/sgd-1k.py", "./_base_/runtime.py"]

model = dict(num_classes=3)
