"""AMix, Fig. 2(b): mixtures in contrastive learning on STL-10, linear top-1, ResNet-18; the paper draws bars.

Mixed views are contrasted with keys of other views of their sources (cross) or of the same (same); with the
loss of plain views (Eq. 2), of mixtures (Eq. 4) or both. Without mixtures it is MoCo v2.
"""

AXES = dict(
    policy=["none", "mixup", "cutmix"],
    pipeline=["cross", "same"],
    losses=["eq. 4", "eq. 2 and 4"],
)
ROWS, COLUMNS = ["policy"], ["pipeline", "losses"]
CONFIG = "{method}_resnet18_1xb256-sgd-400e_stl10"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("amix",)
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Fig. 2(b), without figures"


def cell(policy, pipeline, losses):
    """MoCo v2 fills one cell of its row."""
    if policy == "none":
        return dict(method="moco") if (pipeline, losses) == ("cross", "eq. 2 and 4") else None
    options = [] if policy == "mixup" else [f"model.policy.name={policy}"]
    options += ["model.pipeline=same"] if pipeline == "same" else []
    return dict(method="mix-moco", options=options + (["model.head.plain_weight=0.0"] * (losses == "eq. 4")))


PUBLISHED = "\n".join(["- - - -"] * 3)
