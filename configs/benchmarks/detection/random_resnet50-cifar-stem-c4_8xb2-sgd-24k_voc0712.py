# For backbones pretrained on small images.
_base_ = [
    "./_base_/faster-rcnn-c4-cifar-stem.py",
    "./_base_/voc0712.py",
    "./_base_/sgd-24k.py",
    "./_base_/runtime.py",
]

model = dict(num_classes=20)
