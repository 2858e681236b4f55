"""Jaccard bi-projector, Table 1: seconds per epoch on one GPU (a V100 in the paper).

The second of two epochs. The paper prints one time for CIFAR, 1m36s and 1m47s, and 13m51s and 14m01s for Tiny
ImageNet.
"""

AXES = dict(
    method=["simclr", "jaccard-simclr"],
    data=dict(cifar10="1xb512-adam-500e_cifar10", tiny="1xb256-adam-500e_tiny-imagenet"),
)
ROWS, COLUMNS = ["method"], ["data"]
CONFIG = "{method}_resnet50_{data}"
EVALUATE = dict(protocols="log", epoch=2)
SEEDS = range(1)
METRIC, UNIT = "epoch_seconds", ""
SOURCE = "Jiang et al., Jaccard bi-projector, 2022, Table 1"


def cell(**at):
    """The first epoch includes the start of the run."""
    return dict(options=["train_cfg.max_epochs=2"])


PUBLISHED = """
     96 831
    107 841
"""
