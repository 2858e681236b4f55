_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/trimix.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adam-cosine-200e.py",
    "../_base_/default_runtime.py",
]
