"""AMix, Fig. 2(c): MixUp and CutMix between and within clusters, linear top-1; the paper draws a heat map.

Its grid is not given: the values of α are those of Sec. 4.1, on Tiny ImageNet with ResNet-18.
"""

ALPHAS = [0.2, 0.5, 1.0, 2.0, 4.0]
AXES = dict(
    inter=["mixup", "cutmix"],
    alpha=ALPHAS,
    intra=["mixup", "cutmix"],
    intra_alpha=ALPHAS,
)
ROWS, COLUMNS = ["inter", "alpha"], ["intra", "intra_alpha"]
CONFIG = "mix-moco-c_resnet18_1xb256-sgd-400e_tiny-imagenet"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("amix",)
SEEDS = range(1)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Fig. 2(c), without figures"


def cell(**at):
    """All four are options of the policy."""
    return dict(options=[f"model.policy.{key}={value}" for key, value in at.items()])


PUBLISHED = "\n".join(["- " * 10] * 10)
