_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/moco-resnet50.py",
    "../_base_/views/simclr-32px.py",
    "../_base_/schedules/adam-500e.py",
    "../_base_/knn-each-epoch_runtime.py",
]

train_dataloader = dict(batch_size=512)
# Momentum and temperature of the Jaccard configs.
model = dict(momentum=0.999, head=dict(temperature=0.5))
