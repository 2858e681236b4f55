# For a CPU: a short schedule on small images.
_base_ = ["./_base_/small-set.py", "./_base_/bccd.py", "./_base_/sgd-1k.py", "./_base_/runtime.py"]

model = dict(num_classes=3)
