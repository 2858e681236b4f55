"""The figure of features in two dimensions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from ssl_ext.config.data import build_dataset, loading_settings
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import random_network
from ssl_ext.engine import checkpoint_of, load_weights
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import FeatureBank, cached_features, fit_pca
from ssl_ext.models.evaluated import EvaluatedModel
from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.names import PROJECTIONS
from ssl_ext.visualization import Cloud, embedding_scatter, tsne_projection, umap_projection

from .images import class_names
from .titles import checkpoint_titles

COMPONENTS = 50


def embedding_figure(
    config: Config | str | os.PathLike,
    checkpoints: Sequence[str | os.PathLike],
    *,
    titles: Sequence[str] | None = None,
    method: str = "pca",
    perplexity: Sequence[float] = (30.0,),
    points: int = 2000,
    split: str | None = None,
    exclude_class: Sequence[str] = (),
    seed: int = 0,
    options: dict | None = None,
) -> Figure:
    """Two-dimensional projections of backbone features of a split, coloured by class.

    ``'pca'`` shows the first two principal components of the training features, labelled with their shares of
    the variance. ``'tsne'`` starts from 50 of these components and is run for each perplexity. ``'umap'``
    starts from the features. Features are those of evaluation, cached in ``evaluation/features`` beside each
    checkpoint.

    Args:
        config: A config with ``evaluation_dataset``.
        checkpoints: Weights of the backbone; each has a panel, or a row of panels.
        titles: Titles of the checkpoints; by default the method, seed and epoch that differ.
        method: ``'pca'``, ``'tsne'`` or ``'umap'``.
        perplexity: Perplexities of t-SNE; for several checkpoints there is a row per checkpoint.
        points: Maximum number of images.
        split: Split of ``evaluation_dataset``; by default test, or val without a test split.
        exclude_class: Names or numbers of classes to exclude; colours of the others do not change.
        seed: Seed of the choice of images, of t-SNE and UMAP.
        options: Config keys to override.

    Raises:
        UserError: Bad input, several labels per image, or umap-learn is missing.
    """
    if method not in PROJECTIONS:
        raise UserError(f"--method is {method!r}; allowed are {', '.join(PROJECTIONS)}.")
    if points < 2:
        raise UserError(f"--points is {points}; at least 2 are needed.")
    if not perplexity or not checkpoints:
        raise UserError("Give at least one checkpoint, and one perplexity for t-SNE.")
    config = load_config(config, options, required=("model", "evaluation_dataset"))
    train = build_dataset("evaluation_dataset", dict(config.evaluation_dataset, split="train"))
    if train.task == "multi-label":
        raise UserError(
            "evaluation_dataset has several labels per image, so points cannot be coloured by class."
        )
    if split is None:
        split = next((name for name in ("test", "val") if name in train.available_splits), "train")
    shown = train
    if split != "train":
        shown = build_dataset("evaluation_dataset", dict(config.evaluation_dataset, split=split))
    classes = class_names(train)
    labels = torch.as_tensor(shown.labels).cpu().reshape(-1)
    rows = _chosen_rows(labels, _excluded(exclude_class, classes), points, seed)
    sweep: list[Any] = list(perplexity) if method == "tsne" else [None]
    if method == "tsne" and (wrong := [value for value in perplexity if not 0 < value < len(rows)]):
        raise UserError(
            f"--perplexity is {wrong[0]:g}; with {len(rows)} points it must be above 0 and below {len(rows)}."
        )

    checkpoints = [checkpoint_of(checkpoint) for checkpoint in checkpoints]
    names = checkpoint_titles(checkpoints, titles)
    panels: dict[str, Cloud] = {}
    for name, checkpoint in zip(names, checkpoints, strict=True):
        model = random_network(config, seed=0)
        load_weights(model, checkpoint)
        cache = Path(checkpoint).parent / "evaluation" / "features"
        features = _features(config, model, cache, shown, split).features.numpy()[rows]
        # UMAP needs no training features.
        fitted: Any = None
        if method != "umap":
            bank = _features(config, model, cache, train, "train")
            fitted = fit_pca(bank.features.numpy(), 2 if method == "pca" else COMPONENTS)
        for value in sweep:
            words = [name] if len(names) > 1 else []
            with user_errors("embed"):
                if method == "umap":
                    cloud = Cloud(umap_projection(features, seed=seed), "UMAP 1", "UMAP 2")
                elif method == "tsne":
                    plane = tsne_projection(fitted.transform(features), perplexity=value, seed=seed)
                    cloud = Cloud(plane, "t-SNE 1", "t-SNE 2")
                    words.append(f"perplexity {value:g}")
                else:
                    shares = [*fitted.explained_variance_ratio_, 0.0][:2]
                    axes = [f"PC {i} ({100 * share:.1f} % of variance)" for i, share in enumerate(shares, 1)]
                    cloud = Cloud(_plane(fitted.transform(features)), *axes)
            panels[", ".join(words)] = cloud
    with user_errors("embed"):
        columns = len(sweep) if len(sweep) > 1 and len(names) > 1 else None
        return embedding_scatter(panels, labels[rows], classes, columns=columns)


def _features(config: Config, model: TrainableModel, cache: Path, dataset: Any, split: str) -> FeatureBank:
    embedding = EvaluatedModel(model)
    with user_errors("model"):
        path = embedding.cache_file(cache, dataset, split)
        return cached_features(embedding.embed, dataset, path=path, model=model, **loading_settings(config))


def _excluded(words: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Indices of classes given by name (in any case) or by number."""
    names = [_plain(name) for name in classes]
    chosen = []
    for word in words:
        if _plain(word) in names:
            chosen.append(names.index(_plain(word)))
        elif word.isdecimal() and int(word) < len(classes):
            chosen.append(int(word))
        else:
            raise UserError(
                f"--exclude-class {word!r}: the classes are {', '.join(classes)}, or their numbers from 0."
            )
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", str(name)).strip().lower()


def _chosen_rows(labels: torch.Tensor, excluded: Sequence[int], points: int, seed: int) -> torch.Tensor:
    """Select random rows of the shown classes, sorted."""
    rows = (~torch.isin(labels, torch.tensor(list(excluded), dtype=labels.dtype))).nonzero()[:, 0]
    if len(rows) < 2:
        raise UserError(f"Only {len(rows)} images are left; exclude fewer classes.")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:points].sort().values]


def _plane(coordinates: np.ndarray) -> np.ndarray:
    """Two columns; the second is zero if there is only one component."""
    return np.pad(coordinates, ((0, 0), (0, 2 - coordinates.shape[1])))
