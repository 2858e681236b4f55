"""TriMix, Table VI: linear top-1 on CIFAR-10 with and without the terms of the loss."""

AXES = dict(
    method=[
        "barlow-twins",
        "trimix-virtual-only",
        "trimix-consistency-only",
        "trimix-no-feature-norm",
        "trimix",
    ],
    data=["cifar10"],
)
ROWS, COLUMNS = ["method"], ["data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="linear")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table VI; one run each; Barlow Twins differs from Table I's 86.93"
PUBLISHED = """
    86.29
    87.16
    87.32
    87.74
    88.39
"""
