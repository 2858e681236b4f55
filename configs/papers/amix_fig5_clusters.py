"""AMix, Fig. 5 (right): top-1 on Tiny ImageNet by the number of clusters, ResNet-18; drawn curves."""

AXES = dict(clusters=[50, 100, 200, 400], learning=["sl", "cl"])
ROWS, COLUMNS = ["learning"], ["clusters"]
CONFIG = "{method}_tiny-imagenet"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Fig. 5 (right), without figures"
SETTINGS = dict(
    sl=("amix-clusters_resnet18_1xb100-sgd-400e", "classification", "model.clusters.num_classes"),
    cl=("amix-c_resnet18_1xb256-sgd-400e", "linear-aug", "model.labels.num_classes"),
)


def cell(clusters, learning):
    """The configs have 200."""
    method, protocol, key = SETTINGS[learning]
    return dict(method=method, protocol=protocol, options=[] if clusters == 200 else [f"{key}={clusters}"])


PUBLISHED = "\n".join(["- " * 4] * 2)
