"""Thesis, Fig. 3.1: supervised accuracy by depth with all labels; the thesis draws curves over the epochs."""

AXES = dict(
    data=dict(pathology="201e_pathmnist", dermatology="2000e_dermamnist", blood="2000e_bloodmnist"),
    depth=[18, 34, 50],
)
ROWS, COLUMNS = ["data"], ["depth"]
CONFIG = "simclr-nat_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="supervised", budgets="all")
RECIPES = ("thesis",)
SEEDS = range(3)
METRIC, UNIT = "acc", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Fig. 3.1, without figures"


def cell(data, depth):
    """ResNet-50 has four times the features."""
    options = [] if depth == 18 else [f"model.backbone.depth={depth}"]
    return dict(pretrain=False, options=options + (["model.neck.in_channels=2048"] if depth == 50 else []))


PUBLISHED = "\n".join(["- - -"] * 3)
