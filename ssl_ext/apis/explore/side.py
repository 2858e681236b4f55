"""One network on an explorer page: projections, neighbours, predictions and clusters of its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_ext.apis.evaluate.data import Features
from ssl_ext.apis.evaluate.plan import Labels
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import FeatureBank, choose_k, fit_pca, knn_classify, labelled_rows, nearest_neighbours
from ssl_ext.evaluation.metrics import predicted_classes
from ssl_ext.visualization import tsne_projection, umap_projection

from .points import Points
from .runs import Embedded

COMPONENTS = 50
NEIGHBOURS = 12
CLUSTERS = 10
"""Number of clusters of data without classes."""
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Side:
    """Embedding of N points by one network, for a page.

    Attributes:
        features: (N, D) float32.
        projections: Points in the plane (N, 2) by the name of the projection.
        explained: Share of the variance of the training features that the plane of ``pca`` has.
        similarity: Cosine similarities (N, K) of the nearest other points, nearest first.
        neighbours: Their numbers (N, K).
        clusters: Number of the k-means cluster (N,).
        predicted: Classes predicted by kNN, like the labels of the points; None without labels.
        accuracy: Share of the labelled points whose class (all labels) is predicted; None without labels.
        correct: (N,) 1 right, 0 wrong, −1 unlabelled; None without labels.
    """

    features: np.ndarray
    projections: dict[str, np.ndarray]
    explained: float
    similarity: np.ndarray
    neighbours: np.ndarray
    clusters: np.ndarray
    predicted: Tensor | None
    correct: np.ndarray | None

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions of the labelled points."""
        if self.correct is None or not (self.correct >= 0).any():
            return None
        return float(self.correct[self.correct >= 0].mean())


def make_side(
    embedded: Embedded,
    points: Points,
    dataset: Any,
    projections: Sequence[str],
    seed: int,
    say: Callable[[str], None],
) -> Side:
    """Compute the features of a network on the points of a data set, and all that a page shows of them.

    Raises:
        UserError: A projection fails.
    """
    data = embedded.data
    train = embedded.bank(data.splits.train, "train")
    whole = train if points.split == "train" else embedded.bank(dataset, points.split)
    features = whole.features[points.rows]
    array = features.numpy()
    pca = fit_pca(train.features.numpy(), COMPONENTS)
    reduced = pca.transform(array)
    planes = {"pca": np.pad(reduced[:, :2], ((0, 0), (0, max(0, 2 - reduced.shape[1]))))}
    for name in dict.fromkeys(projections):
        if name == "pca":
            continue
        say(f"{name} of {len(points)} images")
        with user_errors(f"--projections {name}"):
            if name == "umap":
                planes[name] = umap_projection(array, seed=seed)
            else:
                perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
                planes[name] = tsne_projection(reduced, perplexity=perplexity, seed=seed)
    similarity, neighbours = nearest_neighbours(features.to(data.device), NEIGHBOURS)
    predicted = _predictions(embedded, points, features, train, seed)
    return Side(
        array,
        planes,
        float(pca.explained_variance_ratio_[:2].sum()),
        similarity.cpu().numpy(),
        neighbours.cpu().numpy(),
        _clusters(reduced, len(points.names) or CLUSTERS, seed),
        predicted,
        None if predicted is None else _correct(predicted, points.labels),
    )


def _clusters(reduced: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans  # takes a second

    return KMeans(min(count, len(reduced)), n_init=1, random_state=seed).fit_predict(reduced)


def _correct(predicted: Tensor, labels: Tensor) -> np.ndarray:
    right = (predicted == labels).reshape(len(labels), -1).all(dim=1)
    return torch.where(labelled_rows(labels), right.long(), -1).numpy().astype(np.int8)


def _predictions(
    embedded: Embedded, points: Points, features: Tensor, train: FeatureBank, seed: int
) -> Tensor | None:
    """Predictions of the config's kNN protocol; a training image does not vote for itself."""
    data, settings = embedded.data, dict(embedded.recipes.knn)
    if data.splits.test is None:
        return None
    known = labelled_rows(train.labels)
    bank, own = train.select(known).to(data.device), None
    if points.split == "train":
        place = torch.where(known, known.cumsum(0) - 1, -1)
        own = place[points.rows]
    if not isinstance(settings["k"], int):
        val = None if data.splits.val is None else embedded.bank(data.splits.val, "val").labelled()
        banks = data.seeded(seed).banks(Features(train, val, train, {}, {}), Labels(seed))
        settings["k"], _ = choose_k(
            banks.val.features, banks.val.labels, banks.fit.features, banks.fit.labels,
            num_classes=data.task["num_classes"], ks=settings.pop("k"), task=data.task["task"], **settings,
        )  # fmt: skip
    scores = knn_classify(
        features.to(data.device), bank.features, bank.labels, num_classes=data.task["num_classes"], own=own,
        **settings,
    ).cpu()  # fmt: skip
    task = data.task["task"]
    if task == "binary":
        scores = scores.reshape(len(scores), -1)[:, -1]
    return torch.from_numpy(predicted_classes(scores.numpy(), task))
