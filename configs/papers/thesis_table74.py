"""Thesis, Table 7.4: accuracy and AUC on the retina by pretraining data."""

AXES = dict(
    pretraining=["none:supervised", "retina:frozen", "retina:unfrozen", "path:frozen", "path:unfrozen",
                 "path+retina:frozen", "path+retina:unfrozen"],
    labels=[100, 250, 1000],
    metric=["acc", "auc"],
)  # fmt: skip
ROWS, COLUMNS = ["pretraining"], ["labels", "metric"]
CONFIG = "simclr-nov_resnet18_1xb256-adamw-10000e_retinamnist"
EVALUATE = dict(protocols="budget", modes="{mode}", budgets="{labels}")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS, DRAWS = range(3), 5
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Table 7.4; 28 px, full recipe"
PATHOLOGY = "simclr-nov_resnet18_1xb256-adamw-201e_pathmnist"


def cell(pretraining, labels, metric):
    """Pathology is evaluated directly; path+retina continues pretraining with the retina's recipe."""
    data, mode = pretraining.split(":")
    if data == "none":
        return dict(pretrain=False, evaluate=dict(protocols="supervised", budgets=labels))
    more = {"path": dict(pretrain=PATHOLOGY), "path+retina": dict(init=PATHOLOGY)}
    return dict(mode=mode, **more.get(data, {}))


PUBLISHED = """
    .458 .648  .498 .630  .480 .668
    .460 .660  .463 .658  .510 .697
    .457 .664  .455 .663  .468 .667
    .488 .677  .530 .686  .522 .726
    .452 .644  .455 .651  .480 .680
    .455 .683  .498 .686  .477 .688
    .452 .632  .450 .644  .477 .695
"""
