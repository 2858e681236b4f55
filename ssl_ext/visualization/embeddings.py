"""Embeddings in the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import GREY, MARKERS, PALETTE, bare, new_figure, to_array

LEGEND_ROWS = 20
MAX_CLASSES = len(PALETTE) * len(MARKERS)


def pca_projection(features: Any) -> np.ndarray:
    """First two principal components of the features, the same on every call.

    Args:
        features: (N, D), N >= 2, D >= 2.

    Returns:
        (N, 2), centred; the first column has the larger variance.

    Raises:
        ValueError: The shape is another.
    """
    from sklearn.decomposition import PCA  # a second of import that only this function needs

    array = to_array(features)
    if array.ndim != 2 or min(array.shape) < 2:
        raise ValueError(f"features must be (N, D) with N and D at least 2, got {array.shape}")
    return PCA(n_components=2, random_state=0).fit_transform(array)


def embedding_scatter(points: Any, labels: Any, classes: Sequence[str], title: str | None = None) -> Figure:
    """Points coloured by class, in colours (Okabe and Ito) and markers that stay distinguishable.

    Args:
        points: (N, 2).
        labels: (N,) class indices; -1 is unlabelled, drawn grey and behind.
        classes: Names of the classes, at most 80.
        title: Title of the figure.

    Raises:
        ValueError: Shapes do not fit, a label has no name, or there are too many classes.
    """
    points, labels = to_array(points), to_array(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"points must be (N, 2) and labels (N,), got {points.shape} and {labels.shape}")
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"{len(classes)} classes cannot be told apart; draw at most {MAX_CLASSES}")
    if labels.size and not -1 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels must lie in [-1, {len(classes) - 1}], got [{labels.min()}, {labels.max()}]")

    columns = math.ceil(len(classes) / LEGEND_ROWS)
    figure = new_figure(5.0 + 1.2 * columns, 4.4)
    axes = figure.subplots()
    area = float(np.clip(20000 / max(len(points), 1), 5, 30))  # points²
    shared = {"s": area, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    if (labels == -1).any():
        axes.scatter(*points[labels == -1].T, color=GREY, label="unlabelled", **shared)
    for index, name in enumerate(classes):
        colour = PALETTE[index % len(PALETTE)]
        marker = MARKERS[index // len(PALETTE)]
        axes.scatter(*points[labels == index].T, color=colour, marker=marker, label=name, **shared)
    legend = figure.legend(
        loc="outside right upper", ncols=columns, frameon=False, fontsize=9, handletextpad=0.2
    )
    for handle in legend.legend_handles:
        handle.set_sizes([30])
        handle.set_alpha(1)
    axes.set_aspect("equal", adjustable="datalim")
    bare(axes)
    if title:
        axes.set_title(title, fontsize=11)
    return figure
