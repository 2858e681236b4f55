"""Thesis, Table 7.6: accuracy and AUC by the number of labels on greyscale images, sequence `grey`."""

AXES = dict(
    data=["tissuemnist", "octmnist"],
    arm=["supervised", "frozen", "unfrozen"],
    labels=[100, 250, 1000, "all"],
    metric=["acc", "auc"],
)
ROWS, COLUMNS = ["data", "arm"], ["labels", "metric"]
CONFIG = "simclr-grey_resnet18_1xb256-adamw-200e_{data}"
EVALUATE = dict(protocols="budget", modes="{arm}", budgets="{labels}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.6; 28 px, full recipe"


def cell(arm, labels, **at):
    """The supervised network starts from random weights."""
    return (
        dict(pretrain=False, evaluate=dict(protocols="supervised", budgets=labels))
        if arm == "supervised"
        else {}
    )


PUBLISHED = """
    .403 .648  .437 .682  .463 .728  .637 .917
    .486 .778  .517 .812  .546 .853  -    -
    .459 .725  .487 .761  .513 .790  .636 .889
    .380 .659  .475 .755  .601 .818  .723 .901
    .665 .899  .658 .915  .708 .909  -    -
    .570 .786  .637 .851  .663 .857  .736 .903
"""
