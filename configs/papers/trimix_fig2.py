"""TriMix, Fig. 2: the terms of the loss while training on Tiny ImageNet; the paper draws curves."""

AXES = dict(
    term=["loss_invariance", "loss_redundancy", "loss_virtual", "loss_consistency", "loss"],
    epoch=[1, 50, 100, 150, 200],
)
ROWS, COLUMNS = ["term"], ["epoch"]
CONFIG = "trimix_resnet18_1xb256-adam-200e_tiny-imagenet"
EVALUATE = dict(protocols="log", epoch="{epoch}")
SEEDS = range(1)
METRIC, UNIT = "{term}", ""
SOURCE = "TriMix, Fig. 2, without figures"
PUBLISHED = "\n".join(["- " * 5] * 5)
