"""AMix, Table 8: top-1 on Tiny ImageNet as parts are added to the Mix Block, ResNet-18.

Supervised (sl): parts are added to AutoMix; self-supervised (cl): missing parts are removed from AMix-C.
"""

AXES = dict(
    part=[
        "mix-block",
        "adaptive-lam",
        "nonlinear-content",
        "global-attention",
        "mask-loss",
        "bilinear",
        "adjusting",
    ],
    learning=["sl", "cl"],
)
ROWS, COLUMNS = ["part"], ["learning"]
CONFIG = "{method}_tiny-imagenet"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 8"
ADDED = [
    "model.mix_block.lam_encoding=adaptive", "model.mix_block.content=nonlinear",
    "model.mix_block.attention=self", "model.block_head.variance_weight=1.0",
]  # fmt: skip
LEFT_OUT = [
    "model.mix_block.lam_encoding=concat", "model.mix_block.content=linear",
    "model.mix_block.attention=cross", "model.head.variance_weight=0",
    "model.mix_block.upsampling=nearest", "model.adjust_lam=False",
]  # fmt: skip


def cell(part, learning):
    """Each row includes the parts of the rows above."""
    number = AXES["part"].index(part)
    if learning == "cl":
        return dict(
            method="amix-c_resnet18_1xb256-sgd-400e", protocol="linear-aug", options=LEFT_OUT[number:]
        )
    if number <= len(ADDED):
        options = ADDED[:number]
        return dict(method="automix_resnet18_1xb100-sgd-400e", protocol="classification", options=options)
    options = ["model.adjust_lam=True"] if part == "adjusting" else []
    return dict(method="amix_resnet18_1xb100-sgd-400e", protocol="classification", options=options)


PUBLISHED = """
    67.33 41.25
    67.85 41.62
    68.08 41.96
    68.34 42.10
    68.42 42.17
    68.56 42.28
    68.37 42.53
"""
