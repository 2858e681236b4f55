"""Thesis, Fig. 3.1: accuracy by the depth of the network, supervised with all labels.

The thesis shows curves over the epochs, without figures: ``tools/visualize.py curves`` draws them.
"""

AXES = dict(
    data=dict(pathology="201e_pathmnist", dermatology="2000e_dermamnist", blood="2000e_bloodmnist"),
    depth=[18, 34, 50],
)
ROWS, COLUMNS = ["data"], ["depth"]
CONFIG = "simclr-nat_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="supervised")
RECIPES = ("thesis",)
WHICH = "best"
SEEDS = range(3)
METRIC, UNIT = "acc", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Fig. 3.1; 28 px, full recipe"


def cell(depth, **at):
    """Random weights of another depth."""
    return dict(pretrain=False, options=() if depth == 18 else (f"model.backbone.depth={depth}",))


PUBLISHED = """
    - - -
    - - -
    - - -
"""
