_base_ = [
    "../_base_/datasets/cifar100.py",
    "../_base_/models/simclr-resnet50.py",
    "../_base_/views/simclr-32px.py",
    "../_base_/schedules/adam-500e.py",
    "../_base_/knn-each-epoch_runtime.py",
]

train_dataloader = dict(batch_size=512)
