_base_ = [
    "../_base_/datasets/stl10.py",
    "../_base_/models/classifier-resnet18.py",
    "../_base_/views/resized-crop-flip.py",
    "../_base_/schedules/sgd-cosine-800e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(type="ResNet"), head=dict(num_classes=10))
train_dataloader = dict(batch_size=100, dataset=dict(split="train"))
