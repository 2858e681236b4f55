"""Class structure in feature space: silhouettes on principal components, and k-means clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .feature_bank import FeatureBank
from .protocols import Banks, Outcome
from .tasks import check_task

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

COMPONENTS = (2, 50)


def fit_pca(features: Any, components: int) -> PCA:
    """Fit scikit-learn's PCA to (N, D) features with a fixed seed.

    The number of components is at most min(N, D). Raises ValueError if ``components`` < 1 or N < 2.

    >>> fit_pca(np.eye(4, 3), 50).n_components_
    3
    """
    from sklearn.decomposition import PCA

    array = np.asarray(features)
    if components < 1 or array.ndim != 2 or len(array) < 2:
        raise ValueError(
            f"{components} principal components of features of shape {array.shape}: at least 1 component "
            "and (N, D) with N of 2 or more are needed"
        )
    with np.errstate(invalid="ignore", divide="ignore"):  # equal rows have no variance to explain
        return PCA(n_components=min(components, *array.shape), random_state=0).fit(array)


def cluster_protocol(banks: Banks, *, num_classes: int, task: str, seed: int, restarts: int = 10) -> Outcome:
    """Silhouettes of the test labels, and agreement of k-means clusters with the test labels.

    Principal components are fitted on the training bank without its labels, and the test bank is
    projected on them. ``silhouette_pca2`` and ``silhouette_pca50`` (Euclidean, in [-1, 1]) use the first
    2 and 50 components, whose shares of the training variance are ``explained_pca2`` and
    ``explained_pca50``. ``nmi`` and ``ari`` compare the test labels with ``num_classes`` k-means clusters
    on the 50 components, with centres fitted on the training bank. Fewer components are used if the
    training bank has fewer than 50 rows or dimensions. A silhouette is NaN if all test rows are of one
    class, or each is of a different class.

    Args:
        banks: Features; rows of ``banks.test`` are scored.
        num_classes: Number of clusters; clipped to the number of training rows.
        task: Kind of labels, one class per row.
        seed: Seed of k-means.
        restarts: Initialisations of k-means, >= 1; the result of least inertia is used.

    Raises:
        ValueError: Multi-label data, or a setting out of range.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    check_task(task)
    if task == "multi-label":
        raise ValueError("clustering needs one class per image; this data set has several labels")
    if restarts < 1:
        raise ValueError(f"evaluation.cluster.restarts={restarts}: at least 1 is needed")
    train, test = banks.final or banks.fit, banks.test
    pca = fit_pca(_array(train), max(COMPONENTS))
    points, centred = pca.transform(_array(test)), pca.transform(_array(train))
    labels = test.labels.cpu().numpy().reshape(-1)
    metrics: dict[str, float] = {}
    for count in COMPONENTS:
        metrics[f"silhouette_pca{count}"] = _silhouette(points[:, :count], labels)
        metrics[f"explained_pca{count}"] = float(pca.explained_variance_ratio_[:count].sum())
    clusters = KMeans(min(num_classes, len(train)), n_init=restarts, random_state=seed).fit(centred)
    assigned = clusters.predict(points)
    metrics["nmi"] = float(normalized_mutual_info_score(labels, assigned))
    metrics["ari"] = float(adjusted_rand_score(labels, assigned))
    settings = {
        "components": [min(count, int(pca.n_components_)) for count in COMPONENTS],
        "clusters": int(clusters.n_clusters),
        "metric": "euclidean",
        "fitted_on": "train",
        "restarts": restarts,
        "seed": seed,
        "fit_includes_validation": banks.final is not None,
    }
    return Outcome(metrics, metrics, settings)


def _array(bank: FeatureBank) -> np.ndarray:
    return bank.features.cpu().numpy()


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of the labels; NaN where it is not defined."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(points, labels, metric="euclidean"))
