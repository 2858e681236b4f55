"""Jaccard bi-projector, Fig. 2: kNN top-1 while training, with and without it; the paper draws curves.

The figures are those of the training's log, on validation images.
"""

AXES = dict(
    data=dict(cifar10="1xb512-adam-500e_cifar10", cifar100="1xb512-adam-500e_cifar100",
              tiny="1xb256-adam-500e_tiny-imagenet"),
    method=["simclr", "jaccard-simclr"],
    epoch=[1, 50, 100, 200, 300, 400, 500],
)  # fmt: skip
ROWS, COLUMNS = ["data", "method"], ["epoch"]
CONFIG = "{method}_resnet50_{data}"
EVALUATE = dict(protocols="log", epoch="{epoch}")
SEEDS = range(1)
METRIC, UNIT = "knn_top1", "%"
SOURCE = "Jiang et al., Jaccard bi-projector, 2022, Fig. 2, without figures"
PUBLISHED = "\n".join(["- " * 7] * 6)
