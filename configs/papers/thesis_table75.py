"""Thesis, Table 7.5: accuracy and AUC on dermatology with as many labels of each class."""

AXES = dict(
    pretraining=["path:frozen", "path:unfrozen", "path+derma:frozen", "path+derma:unfrozen"],
    labels_per_class=[10, 25, 100],
    metric=["acc", "auc"],
)
ROWS, COLUMNS = ["pretraining"], ["labels_per_class", "metric"]
CONFIG = "simclr-nov_resnet18_1xb256-adamw-2000e_dermamnist"
EVALUATE = dict(labels_per_class="{labels_per_class}", modes="{mode}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.5; 28 px, full recipe"
PATHOLOGY = "simclr-nov_resnet18_1xb256-adamw-201e_pathmnist"


def cell(pretraining, labels_per_class, metric):
    """Path + Derma is interpreted as two successive pretraining runs."""
    data, mode = pretraining.split(":")
    more = dict(pretrain=PATHOLOGY) if data == "path" else dict(init=PATHOLOGY)
    return dict(mode=mode, **more)


PUBLISHED = """
    .427 .823  .496 .767  .546 .850
    .442 .707  .590 .750  .600 .776
    .424 .795  .495 .866  .575 .803
    .454 .741  .637 .706  .653 .776
"""
