_base_ = [
    "../_base_/datasets/cifar100.py",
    "../_base_/models/classifier-resnext50.py",
    "../_base_/views/pad-crop-flip.py",
    "../_base_/schedules/sgd-cosine-800e.py",
    "../_base_/classification_runtime.py",
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=100)
