_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/pirl.py",
    "../_base_/views/crop-jitter-flip-grey-x1.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]
