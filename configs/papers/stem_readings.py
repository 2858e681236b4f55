"""Stems on STL-10 and Tiny ImageNet, which the papers do not name: linear top-1 of TriMix and of MoCo v2."""

AXES = dict(
    method=dict(trimix="trimix_resnet18_1xb256-adam-200e", moco="moco_resnet18_1xb256-sgd-400e"),
    stem=["ResNet_CIFAR", "ResNet_CIFAR_MaxPool", "ResNet"],
    data=["stl10", "tiny-imagenet"],
)
ROWS, COLUMNS = ["method", "stem"], ["data"]
CONFIG = "{method}_{data}"
EVALUATE = dict(protocols="linear")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "Stems of TriMix and AMix, which print no figures for them"


def cell(method, stem, data):
    """The configs have ImageNet's stem on STL-10 and CIFAR's on Tiny ImageNet."""
    default = "ResNet" if data == "stl10" else "ResNet_CIFAR"
    return dict(options=[] if stem == default else [f"model.backbone.type={stem}"])


PUBLISHED = "\n".join(["- -"] * 6)
