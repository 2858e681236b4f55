"""Thesis, Sec. 7.3 to 7.6: silhouettes and explained variance of principal components, two and fifty.

Variances printed as bounds are omitted: above 0.75 and 0.84 for fifty components, below 0.2 for two. The last
row is the network fine-tuned with 250 labels (Fig. 7.5), which ``tools/evaluate.py --save`` keeps; beside it
Sec. 7.3.2 prints 0.153 for the pretrained network, where Sec. 7.4.2 prints 0.156.
"""

AXES = dict(
    row=["nat:2000e_bloodmnist", "short:2000e_bloodmnist", "nat:201e_pathmnist", "nov:201e_pathmnist",
         "nov:10000e_retinamnist", "nat:2000e_bloodmnist:250 labels, unfrozen"],
    metric=["silhouette_pca2", "explained_pca2", "silhouette_pca50", "explained_pca50"],
)  # fmt: skip
ROWS, COLUMNS = ["row"], ["metric"]
CONFIG = "simclr-{sequence}_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="cluster")
SEEDS = range(3)
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Sec. 7.3 to 7.6"


def cell(row, metric):
    """The retina is evaluated with the network pretrained on pathology."""
    sequence, data, *tuned = row.split(":")
    if tuned:
        return None
    path = "simclr-nov_resnet18_1xb256-adamw-201e_pathmnist"
    return dict(sequence=sequence, data=data, pretrain=path if "retina" in data else True)


PUBLISHED = """
    .156  .153  .0739  -
    .0568 .149  .0590  -
    .190  -     .105   -
    .162  -     .150   -
    -     -     -.0078 .981
    .172  -     -      -
"""
