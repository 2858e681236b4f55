_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/simclr-resnet50.py",
    "../_base_/views/simclr-64px.py",
    "../_base_/schedules/adam-500e.py",
    "../_base_/knn-each-epoch_runtime.py",
]
