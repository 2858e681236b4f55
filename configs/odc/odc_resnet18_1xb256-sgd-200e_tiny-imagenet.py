_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/odc.py",
    "../_base_/views/crop-jitter-flip-grey-x1.py",
    "../_base_/schedules/sgd-moco-v2-200e.py",
    "../_base_/default_runtime.py",
]
