_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# Table VI, "self-consistency loss only".
model = dict(head=dict(virtual_weight=0.0, feature_norm=False))
