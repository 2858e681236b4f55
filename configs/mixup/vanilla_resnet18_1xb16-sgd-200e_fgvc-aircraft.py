_base_ = [
    "../_base_/datasets/fgvc_aircraft.py",
    "../_base_/models/classifier-resnet18.py",
    "../_base_/views/flip.py",
    "../_base_/schedules/sgd-cosine-200e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(type="ResNet"), head=dict(num_classes=100))
train_dataloader = dict(batch_size=16)
