"""TriMix, Table I: kNN and linear top-1 on natural images, ResNet-18, 200 epochs."""

AXES = dict(
    method=["simclr", "byol", "barlow-twins", "vicreg", "trimix"],
    protocol=["knn", "linear"],
    data=["cifar10", "cifar100", "stl10", "tiny-imagenet"],
)
ROWS, COLUMNS = ["method"], ["protocol", "data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="{protocol}")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table I; one run each"
PUBLISHED = """
    82.17 48.06 79.47 30.33   86.14 59.27 86.35 42.74
    81.13 45.73 81.19 30.75   85.43 57.31 86.33 41.94
    84.37 52.47 80.98 36.70   86.93 60.66 86.29 45.50
    77.73 44.58 74.06 26.20   81.38 53.46 77.45 34.17
    86.35 54.01 81.59 34.66   88.39 63.37 87.06 45.15
"""
