"""TriMix, Table V: linear top-1 on medical images on frozen features of natural ones, ResNet-18, 200 epochs.

The paper prints the columns from STL-10 and Tiny ImageNet below the others.
"""

AXES = dict(
    method=["simclr", "byol", "barlow-twins", "vicreg", "trimix"],
    source=["cifar10", "cifar100", "stl10", "tiny-imagenet"],
    target=["pathmnist", "dermamnist", "octmnist", "bloodmnist"],
)
ROWS, COLUMNS = ["method"], ["source", "target"]
CONFIG = "{method}_resnet18_1xb256-adam-200e_{source}"
EVALUATE = dict(protocols="transfer", transfer_to="{target}", modes="frozen")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Table V; one run each"
PUBLISHED = """
    77.17 71.57 63.90 77.81  76.43 71.57 60.50 76.23  74.27 70.22 40.90 61.47  77.43 70.92 46.00 69.48
    78.19 72.21 65.00 79.42  80.78 71.52 57.30 75.85  72.93 69.52 57.90 67.72  77.42 70.97 52.10 73.98
    78.30 71.67 62.70 80.70  77.60 73.01 58.40 80.35  77.40 70.12 50.20 67.17  76.50 71.06 56.20 73.77
    77.47 71.77 63.50 77.19  80.87 71.22 65.10 76.79  71.10 70.02 44.60 60.07  72.86 71.02 47.50 64.42
    78.43 72.27 67.20 78.49  80.92 71.17 57.40 78.84  76.56 70.32 49.30 63.84  77.77 71.87 51.20 72.46
"""
