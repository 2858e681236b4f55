"""AMix's supervised claim on two cores: learned masks are better than MixUp; equal epochs and equal compute.

10,000 images of CIFAR-10, a quarter of ResNet-18's width, 12 epochs in bfloat16; AMix takes three times the
passes of the plain network or MixUp, so these also have rows of 36 epochs. The constant mask λ is the
control, with the same draws. γ is the first strength of λ in the block's features. ``acc`` is of the network
used for inference (AMix: the EMA), ``acc_plain`` of the trained one.
"""

AXES = dict(
    arm=["vanilla", "vanilla-36e", "mixup", "mixup-36e", "constant-mask", "gamma-0", "gamma-1"],
    metric=["acc", "acc_plain"],
)
ROWS, COLUMNS = ["arm"], ["metric"]
REFERENCE = dict(arm="constant-mask")
CONFIG = "{method}_resnet18-w16_1xb100-sgd-30e_cifar10-10k"
EVALUATE = dict(protocols="classification")
SEEDS = range(3)
METRIC, UNIT = "{metric}", "%"
SOURCE = "AMix's supervised claim on 10,000 images of CIFAR-10"
EVERY = ["model.backbone.type=ResNet_CIFAR", "optim_wrapper.type=BFloat16OptimWrapper"]
OPTIONS = {
    "constant-mask": ["model.constant_mask=True"],
    "gamma-1": ["model.mix_block.gamma_init=1.0"],
}


def cell(arm, metric):
    """AMix's block gets the maps of stage 3, as in the paper."""
    method, _, length = arm.partition("-")
    plain = method in ("vanilla", "mixup")
    epochs = 36 if length == "36e" else 12
    options = [*EVERY, f"train_cfg.max_epochs={epochs}", *OPTIONS.get(arm, [])]
    if not plain:
        options += ["model.feature_stage=3", "model.mix_block.in_channels=64"]
    return dict(method=method if plain else "amix", options=options)


PUBLISHED = "\n".join(["- -"] * 7)
