"""Names and formats of metrics in tables."""

from __future__ import annotations

from typing import NamedTuple

from ssl_ext.errors import UserError


class Metric(NamedTuple):
    """Formatting of a metric: heading, factor (100 for percent) and decimals.

    ``better`` is 1 if higher is better, -1 if lower is better, else 0.
    """

    label: str
    scale: int = 1
    digits: int = 4
    better: int = 1


METRICS = {
    "acc": Metric("acc. %", 100, 2),
    "acc_plain": Metric("plain head %", 100, 2),
    "acc_mix": Metric("mix head %", 100, 2),
    "acc_plain_momentum": Metric("EMA, plain head %", 100, 2),
    "acc_mix_momentum": Metric("EMA, mix head %", 100, 2),
    "top5": Metric("top-5 %", 100, 2),
    "auc": Metric("AUC"),
    "auprc": Metric("AUPRC"),
    "kappa": Metric("kappa"),
    "balanced_acc": Metric("bal. acc. %", 100, 2),
    "f1": Metric("macro F1"),
    **{
        f"{kind}{name}": Metric(f"{kind.upper().replace('_', ' ')}{name} %", 100, 1)
        for kind in ("", "voc07_", "voc_")
        for name in ("AP", "AP50", "AP75")
    },
    "ece": Metric("ECE", better=-1),
    "epoch_seconds": Metric("s per epoch", 1, 1, -1),
    "training_seconds": Metric("training s", 1, 0, -1),
    "silhouette_pca2": Metric("silh. PCA-2", 1, 3),
    "explained_pca2": Metric("PCA-2 explains %", 100, 1, 0),
    "silhouette_pca50": Metric("silh. PCA-50", 1, 3),
    "explained_pca50": Metric("PCA-50 explains %", 100, 1, 0),
    "nmi": Metric("NMI", 1, 3),
    "ari": Metric("ARI", 1, 3),
    "rankme": Metric("RankMe", 1, 1, 0),
    "lidar": Metric("LiDAR", 1, 1, 0),
    "alpha_req": Metric("α-ReQ", 1, 3, 0),
    "alignment": Metric("alignment", 1, 3, 0),
    "uniformity": Metric("uniformity", 1, 3, 0),
    "feature_std": Metric("feature std", 1, 4, 0),
    "feature_std_uniform": Metric("of uniform features", 1, 4, 0),
}
CLUSTERING = ("silhouette_pca2", "explained_pca2", "silhouette_pca50", "explained_pca50", "nmi", "ari")
QUALITY = ("rankme", "lidar", "alpha_req", "alignment", "uniformity", "feature_std", "feature_std_uniform")
# Metrics shown by default: classification (balanced accuracy for imbalanced classes), clustering, quality.
SHOWN = (
    ("acc", "balanced_acc", "kappa", "top5", "auc"),
    ("silhouette_pca2", "silhouette_pca50", "nmi", "ari"),
    QUALITY[:6],
)


def check_metric(name: str, place: str) -> None:
    """Raise UserError for a metric that no result has; ``place`` begins the sentence."""
    if name not in METRICS:
        raise UserError(f"{place}: metric '{name}' is unknown; allowed are {', '.join(METRICS)}.")
