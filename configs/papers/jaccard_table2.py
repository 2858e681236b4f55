"""Jaccard bi-projector, Table 2: kNN and linear top-1 with and without it, ResNet-50, 500 epochs."""

AXES = dict(
    method=["simclr", "jaccard-simclr", "moco", "jaccard-moco"],
    protocol=["knn", "linear"],
    data=dict(cifar10="1xb512-adam-500e_cifar10", cifar100="1xb512-adam-500e_cifar100",
              tiny="1xb256-adam-500e_tiny-imagenet"),
)  # fmt: skip
ROWS, COLUMNS = ["method", "protocol"], ["data"]
CONFIG = "{method}_resnet50_{data}"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "Jiang et al., Jaccard bi-projector, 2022, Table 2; the best of several temperatures and epochs"
PUBLISHED = """
    88.6 62.1 35.9
    91.5 68.6 50.7
    88.6 63.9 39.5
    91.8 69.5 53.8
    85.5 56.8 33.5
    90.5 66.8 49.6
    85.1 59.2 35.4
    90.2 67.5 51.2
"""
