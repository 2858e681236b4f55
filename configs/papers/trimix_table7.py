"""TriMix, Table VII: linear top-1 on CIFAR-10 with the losses on the features y or the embeddings z."""

AXES = dict(
    method=["trimix-virtual-y-consistency-y", "trimix-consistency-y", "trimix"],
    data=["cifar10"],
)
ROWS, COLUMNS = ["method"], ["data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="linear")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table VII; one run each"
PUBLISHED = """
    86.32
    85.37
    88.39
"""
