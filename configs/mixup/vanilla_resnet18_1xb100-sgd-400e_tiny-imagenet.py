_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/classifier-resnet18.py",
    "../_base_/views/resized-crop-flip.py",
    "../_base_/schedules/sgd-cosine-400e.py",
    "../_base_/classification_runtime.py",
]

model = dict(head=dict(num_classes=200))
train_dataloader = dict(batch_size=100)
