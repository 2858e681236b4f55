# MoCo's protocol from random weights; the configs of the methods inherit from here.
_base_ = ["./_base_/faster-rcnn-c4.py", "./_base_/voc0712.py", "./_base_/sgd-24k.py", "./_base_/runtime.py"]

model = dict(num_classes=20)
