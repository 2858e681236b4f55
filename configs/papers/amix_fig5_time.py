"""AMix, Fig. 5 (left): top-1 and training time on ImageNet-1k, ResNet-50, 100 epochs; drawn points."""

AXES = dict(
    method=["vanilla", "mixup", "cutmix", "manifoldmix", "saliencymix", "fmix", "puzzlemix", "co_mixup",
            "resizemix", "automix", "amix"],
    metric=["acc", "training_seconds"],
)  # fmt: skip
ROWS, COLUMNS = ["method"], ["metric"]
CONFIG = "{config}_resnet50_8xb25-sgd-300e_imagenet"
EVALUATE = dict(protocols="classification")
SEEDS = range(1)
METRIC, UNIT = "{metric}", ""
SOURCE = "AMix, Fig. 5 (left), without figures"


def cell(method, metric):
    """Policies are options of MixUp's config; the cosine follows the number of epochs."""
    own = method in ("vanilla", "mixup", "automix", "amix")
    options = ["train_cfg.max_epochs=100"] + ([] if own else [f"model.policy.name={method}"])
    found = dict(config=method if own else "mixup", options=options)
    return found if metric == "acc" else dict(found, evaluate=dict(protocols="log", epoch=100))


PUBLISHED = "\n".join(["- -"] * 11)
