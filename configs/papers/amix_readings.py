"""AMix beside its control, whose mask is the constant λ, and its readings: top-1 on Tiny ImageNet, ResNet-18.

The control draws the same λ and pairs and also runs the block: a gain over it comes from the learned mask.
"""

AXES = dict(
    reading=["learned", "constant-mask", "gamma-1", "upsampled-first", "cosine-momentum"],
    method=dict(amix="amix_resnet18_1xb100", i="amix-i_resnet18_1xb256", c="amix-c_resnet18_1xb256"),
)
ROWS, COLUMNS = ["reading"], ["method"]
CONFIG = "{method}-sgd-400e_tiny-imagenet"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "Readings of AMix, which prints no figures for them"
SKIP = [dict(reading="cosine-momentum", method="amix")]
OPTIONS = {
    "constant-mask": ["model.constant_mask=True"],
    "gamma-1": ["model.mix_block.gamma_init=1.0"],
    "upsampled-first": ["model.mix_block.sigmoid_first=False"],
    "cosine-momentum": ["model.momentum_schedule=cosine"],
}


def cell(reading, method):
    """The learned mask is the config itself; the momentum of supervised AMix already follows a cosine."""
    return dict(
        options=OPTIONS.get(reading, []), protocol="classification" if method == "amix" else "linear-aug"
    )


PUBLISHED = "\n".join(["- - -"] * 5)
