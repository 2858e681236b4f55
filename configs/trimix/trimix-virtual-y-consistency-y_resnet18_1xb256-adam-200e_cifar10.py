_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# Table VII, first row: both losses on the backbone features.
model = dict(head=dict(virtual_on="y", consistency_on="y"))
