"""AMix, Table 1: top-1 by the loss of the Mix Block, ResNet-18, supervised (sl) and self-supervised (cl).

L: ground-truth labels; PL, K: pseudo labels of K clusters.
"""

AXES = dict(
    loss=["mixup", "ce-l", "ce-pl-100", "ce-pl-200", "pbce-l", "bce", "infonce", "infonce-pl", "infonce-l"],
    data=["stl10", "tiny-imagenet"],
    learning=["sl", "cl"],
)
ROWS, COLUMNS = ["loss"], ["data", "learning"]
SCHEDULES = dict(
    sl=dict(stl10="1xb100-sgd-800e", tiny="1xb100-sgd-400e"),
    cl=dict(stl10="1xb256-sgd-400e", tiny="1xb256-sgd-400e"),
)
CONFIG = "{method}_resnet18_{recipe}_{data}"
EVALUATE = dict(protocols="{protocol}")
RECIPES = ("amix",)
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 1; mean of 3 trials"


def cell(loss, data, learning):
    """Rows with L pretrain on all images of STL-10; those without a class take no part in losses by class."""
    recipe = SCHEDULES[learning][data.split("-")[0]]
    name, _, labels = loss.partition("-")
    if learning == "sl":
        method = "mixup" if loss == "mixup" else "amix-clusters" if labels.startswith("pl") else "amix"
        options = [] if name in ("mixup", "ce") else [f"model.block_head.losses=[{name}]"]
        options += ["model.block_head.mask_labels=True"] if name == "infonce" and labels else []
        options += ["model.clusters.num_classes=100"] if labels == "pl-100" else []
        return dict(method=method, recipe=recipe, protocol="classification", options=options)
    method = "mix-moco" if loss == "mixup" else "amix-c" if labels else "amix-i"
    options = [] if loss == "mixup" else [f"model.block_losses=[{name}]"]
    options += ["model.mask_labels=True"] if name == "infonce" and labels else []
    options += ["model.labels.num_classes=100"] if labels == "pl-100" else []
    if labels == "l":
        options += ["model.labels.source=ground-truth"]
        options += ["model.labels.num_classes=10"] if data == "stl10" else []
    return dict(method=method, recipe=recipe, protocol="linear-aug", options=options)


PUBLISHED = """
    78.94 84.51  63.39 41.24
    82.14 85.95  68.56 43.11
    81.47 85.56  67.12 41.97
    81.65 85.64  67.39 42.36
    81.96 85.78  67.84 42.70
    80.50 85.25  66.02 41.28
    80.67 85.37  66.36 41.93
    81.04 85.53  66.79 42.10
    81.28 85.64  67.07 42.31
"""
