"""AMix, Fig. 5 (middle): top-1 on Tiny ImageNet by α, ResNet-18; the paper draws curves."""

AXES = dict(alpha=[0.2, 0.5, 1.0, 2.0, 4.0], learning=["sl", "cl"])
ROWS, COLUMNS = ["learning"], ["alpha"]
CONFIG = "{method}_tiny-imagenet"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Fig. 5 (middle), without figures"


def cell(alpha, learning):
    """The configs have α = 2."""
    options = [] if alpha == 2 else [f"model.alpha={alpha}"]
    if learning == "sl":
        return dict(method="amix_resnet18_1xb100-sgd-400e", protocol="classification", options=options)
    return dict(method="amix-c_resnet18_1xb256-sgd-400e", protocol="linear-aug", options=options)


PUBLISHED = "\n".join(["- " * 5] * 2)
