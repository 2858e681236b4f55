"""TriMix, Table VI: linear top-1 with and without the terms of the loss.

The caption names CIFAR-10 and STL-10; figures are printed for CIFAR-10 only.
"""

AXES = dict(
    method=[
        "barlow-twins",
        "trimix-virtual-only",
        "trimix-consistency-only",
        "trimix-no-feature-norm",
        "trimix",
    ],
    data=["cifar10", "stl10"],
)
ROWS, COLUMNS = ["method"], ["data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="linear")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table VI; one run each; Barlow Twins differs from Table I's 86.93"
OPTIONS = {
    "trimix-virtual-only": ["model.head.consistency_weight=0.0", "model.head.feature_norm=False"],
    "trimix-consistency-only": ["model.head.virtual_weight=0.0", "model.head.feature_norm=False"],
    "trimix-no-feature-norm": ["model.head.feature_norm=False"],
}


def cell(method, data):
    """On CIFAR-10 each row has a config; on STL-10 the rows are overrides of TriMix's."""
    return (
        {} if data == "cifar10" or method not in OPTIONS else dict(method="trimix", options=OPTIONS[method])
    )


PUBLISHED = """
    86.29 -
    87.16 -
    87.32 -
    87.74 -
    88.39 -
"""
