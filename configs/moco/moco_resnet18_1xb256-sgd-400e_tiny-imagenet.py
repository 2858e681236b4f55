_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/moco-v2.py",
    "../_base_/views/moco-v2-64px.py",
    "../_base_/schedules/sgd-moco-v2-400e.py",
    "../_base_/default_runtime.py",
]
