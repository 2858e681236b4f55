"""TriMix, Table III: kNN and linear top-1 on medical images, ResNet-18, 200 epochs."""

AXES = dict(
    method=["simclr", "byol", "barlow-twins", "vicreg", "trimix"],
    protocol=["knn", "linear"],
    data=["pathmnist", "dermamnist", "octmnist", "bloodmnist"],
)
ROWS, COLUMNS = ["method"], ["protocol", "data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="{protocol}")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table III; one run each"
PUBLISHED = """
    91.56 71.87 69.90 89.42   92.69 73.41 74.5  92.90
    91.50 71.16 70.00 86.14   92.72 72.47 75.80 90.73
    91.36 71.68 71.20 87.89   92.42 73.36 77.50 92.28
    90.40 70.77 69.50 86.14   90.87 72.24 72.39 89.16
    91.92 72.07 72.30 89.92   92.88 73.82 76.60 93.16
"""
