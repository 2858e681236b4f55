"""Jaccard bi-projector: forms of its similarity, and two projectors without it; kNN and linear top-1.

Without J only the cosines of the two projectors are contrasted: a gain over it comes from the similarity.
"""

AXES = dict(
    form=["simclr", "moco"],
    similarity=["guarded", "raw", "clamp", "affine", "without-j"],
    protocol=["knn", "linear"],
    data=dict(cifar10="1xb512-adam-500e_cifar10", cifar100="1xb512-adam-500e_cifar100",
              tiny="1xb256-adam-500e_tiny-imagenet"),
)  # fmt: skip
ROWS, COLUMNS = ["form", "similarity"], ["protocol", "data"]
CONFIG = "jaccard-{form}_resnet50_{data}"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "Readings of Jiang et al., Jaccard bi-projector, 2022, which prints no figures for them"
OPTIONS = {
    "raw": ["model.head.intersection=raw"],
    "clamp": ["model.head.intersection=clamp", "model.head.eps=0.001"],
    "affine": ["model.head.intersection=affine", "model.head.eps=0.001"],
    "without-j": ["model.head.alpha=[0.5,0.5]"],
}


def cell(similarity, **at):
    """The guarded similarity is the config itself."""
    return dict(options=OPTIONS.get(similarity, []))


PUBLISHED = "\n".join(["- " * 6] * 10)
