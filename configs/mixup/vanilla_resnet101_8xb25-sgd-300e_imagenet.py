_base_ = [
    "../_base_/datasets/imagenet-crops.py",
    "../_base_/models/classifier-resnet18.py",
    "../_base_/views/flip.py",
    "../_base_/schedules/sgd-cosine-300e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(type="ResNet", depth=101), head=dict(in_channels=2048, num_classes=1000))
train_dataloader = dict(batch_size=25)
auto_scale_lr = dict(base_batch_size=200)
