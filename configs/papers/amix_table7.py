"""AMix, Table 7: linear top-1 by the losses of the Mix Block, ResNet-18, 400 epochs; (C): with clusters."""

AXES = dict(
    losses=dict.fromkeys(["bce", "infonce", "infonce,bce"], "amix-i")
    | dict.fromkeys(["pbce", "ce", "ce,infonce", "ce,bce"], "amix-c"),
    data=["stl10", "tiny-imagenet"],
)
ROWS, COLUMNS = ["losses"], ["data"]
CONFIG = "{losses}_resnet18_1xb256-sgd-400e_{data}"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("amix",)
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 7; Tables 1 and 4 print up to 0.08 more or less for the same runs"


def cell(losses, data):
    """The configs have the losses of AMix-I and AMix-C."""
    default = losses in ("infonce,bce", "ce,bce")
    return dict(options=[] if default else [f"model.block_losses=[{losses}]"])


PUBLISHED = """
    85.25 41.28
    85.37 41.90
    85.44 41.97
    85.45 42.18
    85.56 42.36
    85.41 42.12
    85.60 42.53
"""
