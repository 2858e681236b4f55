"""Thesis, Fig. 7.1: accuracy of positive pairs, and loss, while pretraining with `nov`; drawn curves.

Figures of the training's log, on training and on validation images.
"""

AXES = dict(
    pretraining=["blood", "path+derma"],
    metric=["positive_top1", "val_positive_top1", "loss", "val_loss"],
    epoch=[100, 500, 1000, 1500, 2000],
)
ROWS, COLUMNS = ["pretraining", "metric"], ["epoch"]
CONFIG = "simclr-nov_resnet18_1xb256-adamw-2000e_{set}mnist"
EVALUATE = dict(protocols="log", epoch="{epoch}")
SEEDS = range(1)
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Fig. 7.1, without figures"
PATHOLOGY = "simclr-nov_resnet18_1xb256-adamw-201e_pathmnist"


def cell(pretraining, metric, epoch):
    """Dermatology continues the pretraining on pathology."""
    return dict(set="blood") if pretraining == "blood" else dict(set="derma", init=PATHOLOGY)


PUBLISHED = "\n".join(["- " * 5] * 8)
