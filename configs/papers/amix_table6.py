"""AMix, Table 6: Faster R-CNN (ResNet-50-C4) on VOC07+12, pretrained on ImageNet-1k."""

AXES = dict(
    row=["moco", "mix-moco", "mix-moco:cutmix", "mochi", "i-mix", "un-mix", "bsim-weighted", "amix-i"],
    metric=["voc07_AP", "voc07_AP50", "voc07_AP75"],
)
ROWS, COLUMNS = ["row"], ["metric"]
CONFIG = "{method}_resnet50_8xb32-sgd-200e_imagenet"
# Three seeds of the detector, from one pretraining.
EVALUATE = dict(protocols="detection", config="{method}_resnet50-c4_8xb2-sgd-24k_voc0712", pretrain_seed=0)
SEEDS = range(3)
METRIC, UNIT = "{metric}", "%"
SOURCE = "AMix, Table 6"


def cell(row, metric):
    """CutMix is an option of MixUp's config."""
    method, _, policy = row.partition(":")
    return dict(method=method, options=[f"model.policy.name={policy}"] if policy else [])


PUBLISHED = """
    56.9 82.2 63.4
    57.2 82.6 64.1
    57.3 82.7 64.0
    57.1 82.7 64.1
    57.5 82.7 64.2
    57.7 83.0 64.3
    57.4 82.8 64.2
    57.8 83.1 64.3
"""
