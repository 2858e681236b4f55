"""Thesis, Table 7.3: accuracy and AUC by the number of labels, sequence `nov`.

The rows "Standard setup", copied from Table 7.1, and "Improvement" are omitted.
"""

AXES = dict(
    data=dict(pathology="201e_pathmnist", dermatology="2000e_dermamnist", blood="2000e_bloodmnist"),
    arm=["frozen", "unfrozen"],
    labels=[100, 250, 1000, "all"],
    metric=["acc", "auc"],
)
ROWS, COLUMNS = ["data", "arm"], ["labels", "metric"]
CONFIG = "simclr-nov_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="budget", modes="{arm}", budgets="{labels}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.3; 28 px, full recipe"
PUBLISHED = """
    .730 .957  .813 .975  .842 .982  -    -
    .637 .884  .758 .931  .839 .959  .872 .972
    .678 .757  .702 .846  .741 .896  .771 .930
    .680 .741  .704 .843  .744 .879  .790 .926
    .771 .958  .833 .971  .875 .985  .912 .992
    .762 .946  .818 .962  .887 .983  .956 .996
"""
