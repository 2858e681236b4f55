"""TriBYOL as the poster can be read, and BYOL at equal compute: linear top-1, ResNet-50, batch 128.

A step of TriBYOL has three views, one of BYOL two: at equal compute BYOL trains for 1.5 times the epochs.
"""

AXES = dict(
    reading=["all", "alternate", "independent", "one-direction", "byol", "byol-120e"],
    data=["cifar10", "cifar100", "stl10"],
)
ROWS, COLUMNS = ["reading"], ["data"]
CONFIG = "{method}_resnet50_1xb128-sgd-80e_{data}"
EVALUATE = dict(protocols="linear")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "Readings of the TriBYOL poster, which prints no figures for them"
OPTIONS = {
    "alternate": "model.target_update=alternate",
    "independent": "model.target_init=independent",
    "one-direction": "model.symmetric=False",
    "byol-120e": "train_cfg.max_epochs=120",
}


def cell(reading, data):
    """Both targets equal, in both directions, is the config itself."""
    options = [OPTIONS[reading]] if reading in OPTIONS else []
    return dict(method="byol" if reading.startswith("byol") else "tribyol", options=options)


PUBLISHED = "\n".join(["- - -"] * 6)
