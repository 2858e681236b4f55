_base_ = [
    "../_base_/datasets/tiny_imagenet.py",
    "../_base_/models/tribyol-resnet50.py",
    "../_base_/views/crop-jitter-flip-grey-x3.py",
    "../_base_/schedules/sgd-cosine-80e.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=128)
