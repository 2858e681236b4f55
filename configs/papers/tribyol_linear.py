"""TriBYOL poster, linear evaluation with batches of 32, 64 and 128: top-1, ResNet-50, 80 epochs.

ImageNet is printed once for all batch sizes; listed under 128.
"""

AXES = dict(
    method=[
        "tribyol",
        "cross",
        "byol",
        "simsiam",
        "pirl-rotation",
        "pirl-jigsaw",
        "simclr",
        "supervised-imagenet",
    ],
    data=["cifar10", "cifar100", "stl10"],
    batch=[32, 64, 128],
)
ROWS, COLUMNS = ["method"], ["data", "batch"]
CONFIG = "{method}_{recipe}_{data}"
EVALUATE = dict(protocols="linear")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "TriBYOL poster, linear evaluation"


def cell(method, data, batch):
    """The batch size overrides that of the config for 128."""
    if method == "supervised-imagenet":
        return dict(recipe="resnet50", pretrain="data/resnet50-0676ba61.pth")
    options = [] if batch == 128 else [f"train_dataloader.batch_size={batch}"]
    return dict(recipe="resnet50_1xb128-sgd-80e", options=options)


SKIP = [dict(method="supervised-imagenet", batch=[32, 64])]
PUBLISHED = """
    79.09 85.35 87.31  49.07 59.90 63.05  75.41 83.16 88.19
    76.01 82.06 83.50  48.04 54.65 58.79  69.66 78.38 83.79
    68.67 81.47 83.79  41.21 49.68 58.34  49.60 80.09 84.88
    58.42 71.25 75.58  1.00  37.06 49.21  10.00 65.20 71.78
    -     -     55.78  -     -     31.55  -     -     50.26
    -     -     49.94  -     -     27.36  -     -     48.55
    -     -     52.58  -     -     21.26  -     -     44.50
    -     -     82.37  -     -     60.72  -     -     91.76
"""
