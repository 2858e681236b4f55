"""Thesis, Sec. 7.4 to 7.6: silhouettes and explained variance of principal components, two and fifty.

Variances printed as bounds are omitted: above 0.75 and 0.84 for fifty components, below 0.2 for two.
"""

AXES = dict(
    row=["nat:2000e_bloodmnist", "short:2000e_bloodmnist", "nat:201e_pathmnist", "nov:201e_pathmnist",
         "nov:10000e_retinamnist"],
    metric=["silhouette_pca2", "explained_pca2", "silhouette_pca50", "explained_pca50"],
)  # fmt: skip
ROWS, COLUMNS = ["row"], ["metric"]
CONFIG = "simclr-{sequence}_resnet18_1xb256-adamw-{data}"
EVALUATE = dict(protocols="cluster")
SEEDS = range(3)
METRIC, UNIT = "{metric}", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Sec. 7.4 to 7.6"


def cell(row, metric):
    """The retina is evaluated with the network pretrained on pathology."""
    sequence, data = row.split(":")
    path = "simclr-nov_resnet18_1xb256-adamw-201e_pathmnist"
    return dict(sequence=sequence, data=data, pretrain=path if "retina" in data else True)


PUBLISHED = """
    .156  .153  .0739  -
    .0568 .149  .0590  -
    .190  -     .105   -
    .162  -     .150   -
    -     -     -.0078 .981
"""
