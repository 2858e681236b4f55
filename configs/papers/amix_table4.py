"""AMix, Table 4: linear top-1 on STL-10 after 400 and 800 epochs; (C): with clusters."""

AXES = dict(
    row=["moco", "mix-moco:mixup", "mix-moco:manifoldmix", "mix-moco:cutmix", "mix-moco:saliencymix",
         "mix-moco:fmix", "mix-moco:resizemix", "amix-i", "swav", "mix-moco-c:inter_intra",
         "mix-moco-c:puzzlemix", "amix-c"],
    depth=[18, 50],
    length=[400, 800],
)  # fmt: skip
ROWS, COLUMNS = ["row"], ["depth", "length"]
CONFIG = "{method}_resnet{depth}_1xb256-sgd-{epochs}e_stl10"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("amix",)
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 4; SwAV by the official code"


def cell(row, depth, length):
    """Policies are options; for them and SwAV, 800 epochs are the 400-epoch config with more epochs."""
    if row == "swav":
        options = ["model.backbone.depth=50"] if depth == 50 else []
        options += ["train_cfg.max_epochs=800", "param_scheduler.0.T_max=800"] if length == 800 else []
        return dict(method=row, depth=18, epochs=400, options=options)
    method, _, policy = row.partition(":")
    default = policy in ("", "mixup", "inter_intra")
    options = [] if default else [f"model.policy.name={policy}"]
    options += ["model.layers=[0,1,2]"] if policy == "manifoldmix" else []
    if policy and length == 800:
        options += ["train_cfg.max_epochs=800", "param_scheduler.0.T_max=800"]
    return dict(method=method, epochs=400 if policy else length, options=options)


PUBLISHED = """
    81.50 85.64  84.89 89.68
    84.51 87.93  88.24 92.20
    84.17 87.70  88.06 91.65
    84.28 87.60  87.51 90.81
    84.33 87.27  87.35 90.77
    84.43 87.68  88.14 91.56
    83.88 87.25  86.88 90.83
    85.37 88.58  88.87 92.41
    81.10 85.56  84.35 88.79
    84.89 87.85  88.33 92.24
    84.98 88.07  88.40 91.98
    85.56 88.63  88.91 92.45
"""
