"""Thesis, Table 7.2: accuracy and AUC by the number of labels, sequence `short`.

The rows "Standard setup", copied from Table 7.1, and "Improvement" are omitted.
"""

AXES = dict(
    data=dict(pathology="201e_pathmnist", dermatology="2000e_dermamnist", blood="2000e_bloodmnist"),
    arm=["frozen", "unfrozen"],
    labels=[100, 250, 1000, "all"],
    metric=["acc", "auc"],
)
ROWS, COLUMNS = ["data", "arm"], ["labels", "metric"]
CONFIG = "simclr-short_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="budget", modes="{arm}", budgets="{labels}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.2; 28 px, full recipe"
PUBLISHED = """
    .692 .903  .787 .965  .834 .979  -    -
    .646 .883  .777 .939  .831 .955  .868 .973
    .668 .759  .698 .840  .714 .882  .741 .909
    .682 .741  .709 .846  .735 .871  .780 .926
    .749 .943  .809 .961  .862 .981  .890 .989
    .730 .931  .793 .949  .877 .981  .955 .996
"""
