"""Two-dimensional projections of features by t-SNE and UMAP."""

from __future__ import annotations

from typing import Any

import numpy as np

from .style import to_array


def tsne_projection(features: Any, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton, 2008) of features, by scikit-learn.

    Args:
        features: (N, D), usually about 50 principal components.
        perplexity: Effective number of neighbours, in (0, N).
        seed: Seed of the optimisation, which is initialised with the first two principal components.

    Returns:
        (N, 2).

    Raises:
        ValueError: The perplexity is not in (0, N).
    """
    from sklearn.manifold import TSNE  # imported here because it takes a second

    array = to_array(features)
    if not 0 < perplexity < len(array):
        raise ValueError(
            f"perplexity is {perplexity:g}; for {len(array)} points it must be above 0 and below {len(array)}"
        )
    start = "pca" if array.shape[1] > 1 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(array)


def umap_projection(features: Any, *, neighbours: int = 15, seed: int = 0) -> np.ndarray:
    """UMAP (McInnes et al., 2018) of features, by umap-learn.

    Args:
        features: (N, D).
        neighbours: Number of neighbours; clipped to N - 1.
        seed: Seed of the optimisation.

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
    # UMAP is deterministic on one thread only. The spectral initialisation fails for very few points.
    start = "spectral" if len(array) > 10 else "random"
    return UMAP(
        n_neighbors=min(neighbours, len(array) - 1), random_state=seed, n_jobs=1, init=start
    ).fit_transform(array)
