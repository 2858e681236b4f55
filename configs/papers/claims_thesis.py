"""The thesis's claim on two cores: with 100 labels, pretraining is better than starting from scratch.

Blood cells, 15 epochs of SimCLR in bfloat16 instead of 2,000, the thesis's network at full width (28 px with
the ImageNet stem). Augmentations ``nat`` and ``nov``, frozen or fine-tuned; one draw of labels a seed. Any
file ``bloodmnist.npz`` of its format does. At full length: thesis_table71.py to thesis_table73.py.
"""

AXES = dict(
    arm=["supervised", "nat:frozen", "nat:unfrozen", "nov:frozen", "nov:unfrozen"],
    metric=["acc", "balanced_acc", "auc"],
)
ROWS, COLUMNS = ["arm"], ["metric"]
REFERENCE = dict(arm="supervised")
CONFIG = "simclr-{views}_resnet18_1xb256-adamw-2000e_bloodmnist"
EVALUATE = dict(protocols="budget", modes="{mode}", budgets=100)
SEEDS, DRAWS = range(5), 1
METRIC, UNIT = "{metric}", ""
SOURCE = "The thesis's claim on blood cells"


def cell(arm, metric):
    """Supervised rows do not depend on the augmentations of pretraining."""
    if arm == "supervised":
        return dict(views="nov", pretrain=False, evaluate=dict(protocols="supervised", budgets=100))
    views, mode = arm.split(":")
    options = ["train_cfg.max_epochs=15", "optim_wrapper.type=BFloat16OptimWrapper"]
    return dict(views=views, mode=mode, options=options)


PUBLISHED = "\n".join(["- - -"] * 5)
