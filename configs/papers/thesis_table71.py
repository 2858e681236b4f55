"""Thesis, Table 7.1: accuracy and AUC by the number of labels, standard sequence of augmentations (`nat`)."""

AXES = dict(
    data=dict(pathology="201e_pathmnist", dermatology="2000e_dermamnist", blood="2000e_bloodmnist"),
    arm=["supervised", "frozen", "unfrozen"],
    labels=[100, 250, 1000, "all"],
    metric=["acc", "auc"],
)
ROWS, COLUMNS = ["data", "arm"], ["labels", "metric"]
CONFIG = "simclr-nat_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="budget", modes="{arm}", budgets="{labels}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.1; 28 px, full recipe"


def cell(arm, labels, **at):
    """The supervised network starts from random weights."""
    return (
        dict(pretrain=False, evaluate=dict(protocols="supervised", budgets=labels))
        if arm == "supervised"
        else {}
    )


PUBLISHED = """
    .395 .780  .559 .839  .658 .879  .857 .974
    .701 .939  .785 .965  .830 .977  -    -
    .685 .909  .762 .921  .829 .950  .875 .964
    .669 .725  .679 .792  .712 .829  .759 .904
    .677 .735  .700 .811  .719 .873  .739 .907
    .674 .756  .701 .839  .741 .871  .787 .925
    .618 .890  .728 .919  .852 .973  .952 .996
    .771 .957  .835 .970  .880 .984  .911 .992
    .732 .934  .796 .953  .882 .982  .956 .997
"""
