_base_ = [
    "../_base_/datasets/cub200.py",
    "../_base_/models/classifier-resnext50.py",
    "../_base_/views/flip.py",
    "../_base_/schedules/sgd-cosine-200e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(type="ResNeXt"), head=dict(num_classes=200))
train_dataloader = dict(batch_size=16)
