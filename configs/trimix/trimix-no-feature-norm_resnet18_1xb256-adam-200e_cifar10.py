_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# Table VI, both losses without the feature normalisation.
model = dict(head=dict(feature_norm=False))
