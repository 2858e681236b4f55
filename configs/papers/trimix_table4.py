"""TriMix, Table IV: fine-tuned top-1 with 1, 10 and 100 % of the labels of medical images, 100 epochs."""

AXES = dict(
    method=["simclr", "byol", "barlow-twins", "vicreg", "trimix"],
    fraction=[0.01, 0.1, 1.0],
    data=["pathmnist", "dermamnist", "octmnist", "bloodmnist"],
)
ROWS, COLUMNS = ["method"], ["fraction", "data"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="semi", fractions="{fraction}")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table IV; one run each"
PUBLISHED = """
    90.47 66.88 77.30 84.68   91.95 71.22 80.69 92.15   93.50 75.86 83.89 95.81
    89.07 67.11 78.40 80.64   92.09 71.32 80.01 91.25   93.34 75.31 83.60 96.11
    89.90 67.13 78.30 82.61   92.08 70.97 80.20 91.34   92.54 75.86 82.30 95.90
    89.77 66.98 79.30 78.54   91.61 71.37 80.59 88.97   93.38 76.00 81.50 95.32
    90.81 67.23 78.80 84.89   92.15 71.37 80.78 92.15   93.50 76.21 81.90 95.73
"""
