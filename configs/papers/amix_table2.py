"""AMix, Table 2: top-1 of classifiers on small and fine-grained images."""

AXES = dict(
    method=["vanilla", "mixup", "cutmix", "manifoldmix", "saliencymix", "fmix", "puzzlemix", "resizemix",
            "automix", "amix"],
    data=dict(cifar100="1xb100-sgd-800e_cifar100", cub="1xb16-sgd-200e_cub200",
              aircraft="1xb16-sgd-200e_fgvc-aircraft"),
    network=["resnet18", "resnext50"],
)  # fmt: skip
ROWS, COLUMNS = ["method"], ["data", "network"]
CONFIG = "{config}_{network}_{data}"
EVALUATE = dict(protocols="classification")
SEEDS = range(3)
METRIC, UNIT = "acc", "%"
SOURCE = "AMix, Table 2; mean of 3 trials"


def cell(method, data, network):
    """On CIFAR-100 with ResNet-18 each policy has a file; elsewhere it is an option of MixUp's."""
    if method in ("vanilla", "mixup", "automix", "amix") or (data, network) == ("cifar100", "resnet18"):
        return dict(config=method)
    return dict(config="mixup", options=[f"model.policy.name={method}"])


PUBLISHED = """
    78.04 81.09  77.68 83.01  80.23 85.10
    79.12 82.10  78.39 84.58  79.52 85.18
    78.17 78.32  78.40 85.68  78.84 84.55
    80.35 82.88  79.76 86.38  80.68 86.60
    79.12 78.77  77.95 83.29  80.02 84.31
    79.69 79.02  77.28 84.06  79.36 84.85
    80.43 82.57  78.63 84.51  80.76 86.23
    80.01 79.73  78.50 84.77  78.10 84.08
    82.04 83.64  79.87 86.56  81.37 86.69
    82.20 84.07  81.11 86.83  82.15 86.80
"""
