"""TriBYOL poster, fine-tuning on 1, 10 and 100 % of the labels: top-1, ResNet-50, batch 128, 80 epochs."""

AXES = dict(
    method=["tribyol", "cross", "byol", "simsiam", "supervised-from-scratch", "supervised-imagenet"],
    data=["cifar10", "cifar100", "stl10"],
    fraction=[0.01, 0.1, 1.0],
)
ROWS, COLUMNS = ["method"], ["data", "fraction"]
CONFIG = "{method}_{recipe}_{data}"
EVALUATE = dict(protocols="semi", fractions="{fraction}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "TriBYOL poster, fine-tuning; the second decimal of 5.5 cannot be read"


def cell(method, data, fraction):
    """The supervised rows are not pretrained here."""
    if method.startswith("supervised"):
        weights = "data/resnet50-0676ba61.pth" if method == "supervised-imagenet" else False
        return dict(recipe="resnet50", pretrain=weights)
    return dict(recipe="resnet50_1xb128-sgd-80e")


PUBLISHED = """
    56.60 71.73 87.07  9.50  23.57 58.92  56.66 67.72 97.34
    50.88 67.34 86.03  6.81  20.96 57.23  42.80 59.22 93.28
    56.28 70.94 86.87  9.38  22.51 58.17  53.96 65.98 97.26
    43.16 63.08 84.76  4.86  14.76 54.70  40.38 49.96 88.38
    32.29 57.24 83.87  5.5   17.47 56.70  20.38 39.10 83.96
    69.90 84.27 91.29  27.48 52.41 70.80  81.24 86.34 98.00
"""
