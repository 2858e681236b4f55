"""TriMix's claim on two cores: its terms improve Barlow Twins; at equal epochs and at equal compute.

10,000 images of CIFAR-10, a quarter of ResNet-18's width, 12 epochs in bfloat16. A step of TriMix passes
three batches, one of Barlow Twins two: 18 epochs of Barlow Twins take as long. With
``--reference arm=barlow-twins`` the tests are those at equal epochs. At full size: trimix_readings.py.
"""

AXES = dict(
    arm=["barlow-twins", "barlow-twins-18e", "consistency-only", "trimix", "trimix-t0.1"],
    protocol=["knn", "linear"],
)
ROWS, COLUMNS = ["arm"], ["protocol"]
REFERENCE = dict(arm="barlow-twins-18e")
CONFIG = "{method}_resnet18-w16_1xb128-adam-20e_cifar10-10k"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "TriMix's claim on 10,000 images of CIFAR-10"
EVERY = [
    "model.backbone.type=ResNet_CIFAR", "optim_wrapper.type=BFloat16OptimWrapper", "train_cfg.max_epochs=12",
    "param_scheduler.0.T_max=12",
]  # fmt: skip
OPTIONS = {
    "barlow-twins-18e": ["train_cfg.max_epochs=18", "param_scheduler.0.T_max=18"],
    "consistency-only": ["model.head.virtual_weight=0.0"],
    "trimix-t0.1": ["model.head.temperature=0.1"],
}


def cell(arm, protocol):
    """The stem of the paper, for 32 px."""
    method = "barlow-twins" if arm.startswith("barlow-twins") else "trimix"
    return dict(method=method, options=EVERY + OPTIONS.get(arm, []))


PUBLISHED = "\n".join(["- -"] * 5)
