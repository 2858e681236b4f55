_base_ = [
    "../_base_/datasets/cifar100.py",
    "../_base_/models/plain-resnet50.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/default_runtime.py",
]
