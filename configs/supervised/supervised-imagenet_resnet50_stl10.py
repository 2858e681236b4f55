_base_ = [
    "../_base_/datasets/stl10.py",
    "../_base_/models/plain-resnet50.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/default_runtime.py",
]

# The network and the statistics of torchvision's weights.
model = dict(backbone=dict(type="ResNet"))
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
