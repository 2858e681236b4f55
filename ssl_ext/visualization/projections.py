"""Features in the plane by methods that keep neighbours together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .style import to_array


def tsne_projection(features: Any, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton, 2008) of features, by scikit-learn.

    Args:
        features: (N, D), usually some 50 principal components.
        perplexity: About how many neighbours a point keeps; above 0 and below N.
        seed: Of the optimisation, which starts at the first two components.

    Returns:
        (N, 2).

    Raises:
        ValueError: The perplexity does not fit the number of points.
    """
    from sklearn.manifold import TSNE  # a second of import that only this function needs

    array = to_array(features)
    if not 0 < perplexity < len(array):
        raise ValueError(f"perplexity is {perplexity:g}; for {len(array)} points it must be from 0 to that")
    start = "pca" if array.shape[1] > 1 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(array)


def umap_projection(features: Any, *, neighbours: int = 15, seed: int = 0) -> np.ndarray:
    """UMAP (McInnes et al., 2018) of features, by umap-learn.

    Args:
        features: (N, D).
        neighbours: How many a point keeps, cut to N - 1.
        seed: Of the optimisation.

    Returns:
        (N, 2).

    Raises:
        ImportError: umap-learn is not installed.
        ValueError: There are fewer than 4 points.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(f"UMAP needs the package umap-learn (pip install umap-learn): {error}") from error
    array = to_array(features)
    if len(array) < 4:
        raise ValueError(f"UMAP needs at least 4 points, got {len(array)}")
    # One thread, which the seed implies. Very few points have no spectral start.
    start = "spectral" if len(array) > 10 else "random"
    return UMAP(
        n_neighbors=min(neighbours, len(array) - 1), random_state=seed, n_jobs=1, init=start
    ).fit_transform(array)
