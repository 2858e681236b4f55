"""AMix's self-supervised claim on two cores: learned masks are better on MoCo v2 than MixUp.

10,000 images of CIFAR-10, a quarter of ResNet-18's width, 10 epochs in bfloat16. A step of AMix-I takes 2.4
times as long as MoCo's and 1.3 times as long as with MixUp, so these also have longer rows. The constant mask
λ is the control, with the same draws.
"""

AXES = dict(
    arm=["moco", "moco-24e", "mixup", "mixup-13e", "constant-mask", "amix-i"],
    protocol=["knn", "linear"],
)
ROWS, COLUMNS = ["arm"], ["protocol"]
REFERENCE = dict(arm="constant-mask")
CONFIG = "{method}_resnet18-w16_1xb128-sgd-20e_cifar10-10k"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix's self-supervised claim on 10,000 images of CIFAR-10"
EVERY = ["model.backbone.type=ResNet_CIFAR", "optim_wrapper.type=BFloat16OptimWrapper"]
METHODS = {"moco": "moco", "mixup": "mix-moco"}


def cell(arm, protocol):
    """AMix-I's block gets the maps of stage 3, as in the paper."""
    name, _, length = arm.partition("-")
    method = METHODS.get(name, "amix-i")
    epochs = length[:-1] if length in ("13e", "24e") else 10
    options = [*EVERY, f"train_cfg.max_epochs={epochs}", f"param_scheduler.0.T_max={epochs}"]
    if method == "amix-i":
        options += ["model.feature_stage=3", "model.mix_block.in_channels=64"]
    return dict(
        method=method, options=options + (["model.constant_mask=True"] if arm == "constant-mask" else [])
    )


PUBLISHED = "\n".join(["- -"] * 6)
