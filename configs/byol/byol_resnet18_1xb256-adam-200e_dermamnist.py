_base_ = [
    "../_base_/datasets/dermamnist.py",
    "../_base_/models/byol.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]
