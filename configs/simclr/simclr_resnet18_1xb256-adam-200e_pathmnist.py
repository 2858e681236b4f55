_base_ = [
    "../_base_/datasets/pathmnist.py",
    "../_base_/models/simclr.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]
