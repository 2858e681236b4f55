"""TriMix, Fig. 4: linear top-1 by batch size and size of the projector; the paper draws curves."""

AXES = dict(
    data=["cifar10", "cifar100", "stl10", "tiny-imagenet"],
    batch=[32, 64, 128, 256, 512],
    dimensions=[128, 256, 512, 1024, 2048],
)
ROWS, COLUMNS = ["data", "batch"], ["dimensions"]
CONFIG = "trimix_resnet18_1xb256-adam-200e_{data}"
EVALUATE = dict(protocols="linear")
RECIPES = ("trimix-sgd", "trimix-adam")
SEEDS = range(1)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, Fig. 4, without figures"


def cell(data, batch, dimensions):
    """The hidden layers of the projector are as wide as its output."""
    options = [] if batch == 256 else [f"train_dataloader.batch_size={batch}"]
    if dimensions != 1024:
        options += [f"model.neck.{key}_channels={dimensions}" for key in ("hid", "out")]
    return dict(options=options)


PUBLISHED = "\n".join(["- " * 5] * 20)
