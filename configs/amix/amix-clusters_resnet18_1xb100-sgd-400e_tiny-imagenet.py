_base_ = "./amix_resnet18_1xb100-sgd-400e_tiny-imagenet.py"

# The mix block is trained with cluster labels instead of classes.
model = dict(type="AMixClusters", clusters=dict(num_classes=200))
