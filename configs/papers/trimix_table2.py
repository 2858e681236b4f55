"""TriMix, Table II: fine-tuned top-1 with 1, 10 and 100 % of the labels of natural images, 100 epochs."""

AXES = dict(
    method=["simclr", "byol", "barlow-twins", "vicreg", "trimix"],
    fraction=[0.01, 0.1, 1.0],
    data=["cifar10", "cifar100", "stl10", "tiny-imagenet"],
)
ROWS, COLUMNS = ["method"], ["fraction", "data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="semi", fractions="{fraction}")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table II; one run each"
PUBLISHED = """
    79.03 29.94 65.23 16.14   86.16 51.65 79.98 35.5    92.68 70.09 88.94 55.36
    77.27 28.04 61.05 15.68   85.01 50.36 79.03 34.13   92.29 69.56 88.74 54.26
    79.19 33.14 63.82 20.28   86.55 54.86 80.15 39.83   92.00 69.15 88.95 54.62
    70.07 22.51 53.79 12.23   81.94 45.93 71.93 31.35   91.97 69.18 85.41 52.38
    81.03 34.08 66.80 19.32   87.56 56.23 81.08 39.52   92.16 69.72 89.54 54.89
"""
