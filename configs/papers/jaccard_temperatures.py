"""Jaccard bi-projector and SimCLR by temperature: kNN top-1.

The paper reports the best of several temperatures, which it does not name.
"""

AXES = dict(
    method=["simclr", "jaccard-simclr"],
    temperature=[0.1, 0.2, 0.5, 1.0],
    data=dict(cifar10="1xb512-adam-500e_cifar10", cifar100="1xb512-adam-500e_cifar100",
              tiny="1xb256-adam-500e_tiny-imagenet"),
)  # fmt: skip
ROWS, COLUMNS = ["method", "temperature"], ["data"]
CONFIG = "{method}_resnet50_{data}"
EVALUATE = dict(protocols="knn")
SEEDS = range(1)
METRIC, UNIT = "acc", "%"
SOURCE = "Temperatures of Jiang et al., Jaccard bi-projector, 2022, which prints no figures for them"


def cell(temperature, **at):
    """The configs have 0.5."""
    return dict(options=[] if temperature == 0.5 else [f"model.head.temperature={temperature}"])


PUBLISHED = "\n".join(["- - -"] * 8)
