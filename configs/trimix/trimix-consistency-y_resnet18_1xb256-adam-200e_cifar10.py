_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# Table VII, second row: virtual embeddings loss on z, self-consistency on the backbone features.
model = dict(head=dict(consistency_on="y"))
