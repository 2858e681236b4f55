"""Jaccard's claim on two cores: its similarity improves SimCLR, and does so by more than a second projector.

10,000 images of CIFAR-10, a quarter of ResNet-18's width, two-layer projectors, 12 epochs in bfloat16.
The second projector adds 2 % to the time of a step, so equal epochs are equal compute. The same rows
at full size: jaccard_readings.py.
"""

AXES = dict(
    similarity=["cosine", "without-j", "clamp", "raw", "guarded"],
    protocol=["knn", "linear"],
)
ROWS, COLUMNS = ["similarity"], ["protocol"]
REFERENCE = dict(similarity="without-j")
CONFIG = "{method}_resnet18-w16_1xb128-adam-20e_cifar10-10k"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "Claim of Jiang et al., Jaccard bi-projector, 2022, on 10,000 images of CIFAR-10"
EVERY = [
    "model.backbone.type=ResNet_CIFAR", "model.neck.num_layers=2", "model.neck.hid_channels=512",
    "model.neck.out_channels=128", "train_cfg.max_epochs=12", "param_scheduler.0.T_max=12",
    "optim_wrapper.type=BFloat16OptimWrapper",
]  # fmt: skip
OPTIONS = {
    "without-j": ["model.head.alpha=[0.5,0.5]"],
    "clamp": ["model.head.intersection=clamp", "model.head.eps=0.001"],
    "raw": ["model.head.intersection=raw"],
}


def cell(similarity, protocol):
    """Cosine: SimCLR itself, with one projector."""
    method = "simclr" if similarity == "cosine" else "jaccard-simclr"
    return dict(method=method, options=[*EVERY, *OPTIONS.get(similarity, [])])


PUBLISHED = "\n".join(["- -"] * 5)
