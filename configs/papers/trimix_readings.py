"""TriMix beside Barlow Twins at equal epochs and at equal compute, and its parts: accuracy on CIFAR-10.

A step of TriMix passes three batches, one of Barlow Twins two: at equal compute Barlow Twins trains for 1.5
times the epochs. At the paper's temperature of 2 the virtual embeddings loss has almost no gradient.
"""

AXES = dict(
    arm=["barlow-twins", "barlow-twins-300e", "consistency-only", "trimix", "trimix-t0.1"],
    schedule=dict(constant="adam", cosine="adam-cosine"),
    protocol=["knn", "linear"],
)
ROWS, COLUMNS = ["arm"], ["schedule", "protocol"]
CONFIG = "{method}_resnet18_1xb256-{schedule}-200e_cifar10"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix, arms of a comparison that its paper does not print"
OPTIONS = {
    "barlow-twins-300e": ["train_cfg.max_epochs=300"],
    "consistency-only": ["model.head.virtual_weight=0.0"],
    "trimix-t0.1": ["model.head.temperature=0.1"],
}


def cell(arm, schedule, protocol):
    """Parts of TriMix are overrides of its config."""
    method = "barlow-twins" if arm.startswith("barlow-twins") else "trimix"
    return dict(method=method, options=OPTIONS.get(arm, []))


PUBLISHED = "\n".join(["- - - -"] * 5)
