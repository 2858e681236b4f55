"""AMix, Table 5: linear top-1 on Tiny ImageNet (400 epochs) and ImageNet-1k (200 epochs)."""

AXES = dict(
    row=["moco", "mix-moco:mixup", "mix-moco:cutmix", "mix-moco:fmix", "mix-moco-c:puzzlemix", "mochi",
         "i-mix", "un-mix", "bsim-weighted", "amix-i", "amix-c"],
    data=dict(tiny="1xb256-sgd-400e_tiny-imagenet", imagenet="8xb32-sgd-200e_imagenet"),
    depth=[18, 50],
)  # fmt: skip
ROWS, COLUMNS = ["row"], ["data", "depth"]
CONFIG = "{method}_resnet{depth}_{data}"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("amix", "amix-imagenet")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 5; MoCHi and i-Mix by official code, Un-Mix and WBSIM from the original papers"


def cell(row, data, depth):
    """The policies are options of two configs, which have MixUp and Inter-Intra."""
    method, _, policy = row.partition(":")
    return dict(method=method, options=[f"model.policy.name={policy}"] if policy not in ("", "mixup") else [])


SKIP = [
    dict(row=["un-mix", "bsim-weighted"], data="tiny"),
    dict(row=["un-mix", "bsim-weighted"], depth=18),
]
PUBLISHED = """
    38.29 42.08  52.85 67.66
    41.24 46.61  53.03 68.07
    41.62 46.24  52.98 68.28
    41.09 46.30  53.10 68.42
    41.86 46.72  53.28 68.48
    41.78 46.55  53.12 68.01
    41.61 46.57  53.09 68.10
    -     -      -     68.60
    -     -      -     68.40
    41.97 47.23  53.47 68.79
    42.53 47.41  53.62 68.86
"""
