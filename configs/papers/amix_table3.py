"""AMix, Table 3: top-1 of classifiers on Tiny ImageNet and ImageNet-1k."""

AXES = dict(
    method=["vanilla", "mixup", "cutmix", "manifoldmix", "saliencymix", "fmix", "puzzlemix", "co_mixup",
            "resizemix", "automix", "amix"],
    column=["resnet18_1xb100-sgd-400e_tiny-imagenet", "resnext50_1xb100-sgd-400e_tiny-imagenet",
            *(f"resnet{depth}_8xb25-sgd-300e_imagenet" for depth in (18, 34, 50, 101))],
)  # fmt: skip
ROWS, COLUMNS = ["method"], ["column"]
CONFIG = "{config}_{column}"
EVALUATE = dict(protocols="classification")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 3; mean of 3 trials"


def cell(method, column):
    """The policies are options of MixUp's config."""
    if method in ("vanilla", "mixup", "automix", "amix"):
        return dict(config=method)
    return dict(config="mixup", options=[f"model.policy.name={method}"])


PUBLISHED = """
    61.68 65.04  71.83 75.29 77.35 78.91
    63.39 66.36  71.72 75.73 78.44 80.60
    64.40 66.47  70.03 75.16 78.69 80.59
    62.76 67.30  71.73 75.44 78.21 80.64
    64.95 66.55  70.21 75.01 78.46 80.45
    62.28 65.08  70.30 75.12 78.51 80.20
    65.63 66.92  71.64 75.84 78.87 80.67
    66.29 67.31  71.73 75.89 78.92 80.69
    64.50 65.87  71.32 75.64 78.91 80.52
    67.33 70.72  72.05 76.10 79.25 80.98
    68.56 72.12  72.32 76.31 79.35 81.03
"""
