"""TriBYOL poster, transfer: linear top-1 on eight data sets, ResNet-50, batch 128, 80 epochs."""

AXES = dict(
    method=["tribyol", "cross", "byol", "simsiam", "supervised-imagenet"],
    target=["mnist", "fashionmnist", "kmnist", "usps", "svhn", "cifar10", "cifar100", "stl10"],
)
ROWS, COLUMNS = ["method"], ["target"]
CONFIG = "{method}_{recipe}"
EVALUATE = dict(protocols="transfer", transfer_to="{target}", modes="frozen")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "TriBYOL poster, transfer learning; the poster names no source, here it is Tiny ImageNet"


def cell(method, target):
    """ImageNet: the weights of torchvision."""
    if method == "supervised-imagenet":
        return dict(recipe="resnet50_cifar10", pretrain="data/resnet50-0676ba61.pth")
    return dict(recipe="resnet50_1xb128-sgd-80e_tiny-imagenet")


PUBLISHED = """
    98.74 91.76 92.00 96.61 75.23 80.09 55.88 79.11
    98.54 91.28 90.33 96.21 71.29 77.55 51.53 76.26
    98.41 90.77 89.88 96.06 68.75 75.31 48.51 74.04
    97.58 89.25 83.31 94.02 58.70 64.51 35.63 63.44
    98.58 90.85 90.77 96.56 77.34 82.37 60.72 91.76
"""
