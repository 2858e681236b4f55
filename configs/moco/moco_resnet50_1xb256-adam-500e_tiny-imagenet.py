_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/moco-resnet50.py",
    "../_base_/views/simclr-64px.py",
    "../_base_/schedules/adam-500e.py",
    "../_base_/knn-each-epoch_runtime.py",
]

# Momentum and temperature of the Jaccard configs.
model = dict(momentum=0.999, head=dict(temperature=0.5))
