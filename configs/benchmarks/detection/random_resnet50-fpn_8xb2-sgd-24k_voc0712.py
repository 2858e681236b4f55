_base_ = ["./_base_/faster-rcnn-fpn.py", "./_base_/voc0712.py", "./_base_/sgd-24k.py", "./_base_/runtime.py"]

model = dict(num_classes=20)
