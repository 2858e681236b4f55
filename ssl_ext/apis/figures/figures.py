"""The figures of a config, a run or a checkpoint; each function gives one that is not yet saved."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from ssl_ext.config.build import build_model, load_config
from ssl_ext.config.networks import Embedding, random_network
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import aggregate, batches, read_results
from ssl_ext.losses import virtual_similarity, virtual_targets
from ssl_ext.losses.virtual_embeddings import probabilities_of_similarity
from ssl_ext.models import TriMixHead
from ssl_ext.registry import DATASETS
from ssl_ext.visualization import loss_curves, read_scalars, scores_bar, trimix_matrices, view_grid
from ssl_ext.visualization.matrices import MAX_BATCH

MAX_ROWS = 64

PathLike = str | os.PathLike


def views_figure(
    config: Config | PathLike, *, images: int = 8, seed: int = 0, options: dict | None = None
) -> Figure:
    """Training images beside the views that pretraining draws of them.

    Args:
        config: A config with ``train_dataloader.dataset`` and ``views``.
        images: How many images, 1 to 64; the seed chooses them.
        seed: Of the images and of the views.
        options: Config keys to override.

    Raises:
        UserError: Bad input, or a config without views.
    """
    config = load_config(config, options)
    need(config, "model", "train_dataloader")
    dataset = build_dataset("train_dataloader.dataset", config.train_dataloader.dataset)
    limit = min(MAX_ROWS, len(dataset))
    if not 1 <= images <= limit:
        raise UserError(f"--images is {images}; from 1 to {limit} images of the training split can be drawn.")
    model = build_model(config)
    if not model.drawn_views:
        raise UserError("The config draws no views: its key views is missing or empty.")
    originals = chosen_images(dataset, images, seed)
    with user_errors("views"):
        drawn = model.data_preprocessor.draw_views(originals, torch.Generator().manual_seed(seed))
        return view_grid(originals.float() / 255, drawn)


def curves_figure(
    runs: Sequence[PathLike],
    *,
    keys: Sequence[str] | None = None,
    smoothing: float | None = 0.6,
    x: str = "iteration",
) -> Figure:
    """Logged figures of runs over iterations, epochs or hours (Fig. 2 of TriMix, Fig. 5 of AMix).

    Args:
        runs: Work directories; a run goes by what tells its path from the others.
        keys: Logged names to draw; by default the loss and each of its terms. What validation
            images gave for them (``val_…``) is drawn along.
        smoothing: Weight in [0, 1) of a moving average; 0 draws the raw lines.
        x: ``'iteration'``, ``'epoch'``, or ``'hours'`` of training for figures logged with them.

    Raises:
        UserError: A run without a log, or a name that no run has logged.
    """
    with user_errors("runs"):
        return loss_curves(
            {name: read_scalars(run) for name, run in zip(distinct_names(runs), runs, strict=True)},
            keys,
            smoothing,
            x,
        )


def matrices_figure(
    config: Config | PathLike,
    checkpoint: PathLike,
    *,
    batch: int = 10,
    lam: float = 0.7,
    seed: int = 0,
    split: str = "test",
    options: dict | None = None,
) -> Figure:
    """How a TriMix network takes mixed images apart (Fig. 5 of TriMix).

    As many images as a training batch has (or as the split has, if fewer) are drawn from the split,
    not augmented, and mixed with their reversed copy: λ·x + (1 − λ)·flip(x). The network is in
    evaluation mode (running statistics in its batch normalisation), and embeddings are standardised
    over this whole batch, as the loss does. The figure shows the first and the last ``batch / 2``
    images (an odd number: also the middle one): they are mixed among themselves, so that the targets
    are those of a batch of ``batch``. The softmax runs over the mixed images that are shown.

    Args:
        config: A config whose head looks at virtual embeddings.
        checkpoint: A checkpoint of this project with the projector.
        batch: How many images are shown, 2 to 32.
        lam: λ in [0, 1].
        seed: Chooses the images.
        split: Of ``evaluation_dataset``.
        options: Config keys to override.

    Raises:
        UserError: Bad input, or a model that knows no virtual embeddings.
    """
    config = load_config(config, options)
    need(config, "model", "evaluation_dataset")
    if not 0 <= lam <= 1:
        raise UserError(f"--lam is {lam}; it must lie in [0, 1].")
    dataset = build_dataset("evaluation_dataset", dict(config.evaluation_dataset, split=split))
    limit = min(MAX_BATCH, len(dataset))
    if not 2 <= batch <= limit:
        raise UserError(f"--batch is {batch}; from 2 to {limit} images can be shown.")
    model = random_network(config, seed=seed, device=device())
    head = model.head
    if not (isinstance(head, TriMixHead) and head.needs_virtual):
        raise UserError(
            f"model.head {type(head).__name__} looks at no virtual embeddings in this config: there are no "
            "similarities of mixed images to draw (only for TriMix with a virtual or a consistency term)."
        )
    report = load_weights(model, checkpoint)
    if head.virtual_on == "z" and any(name.startswith("neck.") for name in report.missing):
        raise UserError(f"Checkpoint '{checkpoint}' has no projector (neck), which model.head compares on.")

    size = max(batch, min(config.get("train_dataloader", {}).get("batch_size", batch), len(dataset)))
    size -= (size - batch) % 2
    with user_errors("model"), torch.no_grad():
        originals = chosen_images(dataset, size, seed)
        clean, weight = Embedding(model).clean(originals), torch.tensor(lam, device=device())
        embeddings = [model.extract_embedding(x) for x in (clean, model.mix(clean, weight))]
        if head.virtual_on == "z":
            embeddings = [model.project(y) for y in embeddings]
        similarity = virtual_similarity(*embeddings, feature_norm=head.feature_norm, eps=head.eps).cpu()
    half = batch // 2
    shown = [*range(half), *[size // 2] * (batch % 2), *range(size - half, size)]
    similarity = similarity[shown][:, shown]
    pictures = originals[shown].float() / 255
    with user_errors("matrices"):
        return trimix_matrices(
            pictures,
            model.mix(pictures, torch.tensor(lam)),
            similarity,
            probabilities_of_similarity(similarity, head.temperature),
            virtual_targets(batch, lam),
            lam,
        )


def scores_figure(results: Sequence[PathLike], *, which: str = "last") -> Figure:
    """Accuracies of evaluations side by side, mean and standard deviation where labels were drawn.

    Args:
        results: Files ``results.json`` as evaluation writes them.
        which: ``'last'`` epoch, or the ``'best'`` one (chosen on validation data).

    Raises:
        UserError: A file that is missing or holds no result rows.
    """
    bars: list[tuple[str, float, float | None]] = []
    names = distinct_names(results) if len(results) > 1 else [""]
    for name, path in zip(names, results, strict=True):
        for method, cells in aggregate(read_results(path), which=which).items():
            for condition, (mean, deviation, count) in cells.items():
                words = [condition.words] if condition.protocol == method else [method, condition.words]
                label = (f"{name}: " if name else "") + ", ".join(words)
                bars.append((label, 100 * mean, 100 * deviation if count > 1 else None))
    with user_errors("results"):
        return scores_bar(bars)


def distinct_names(paths: Sequence[PathLike]) -> list[str]:
    """What tells paths apart: each without the folders and file names that all of them share.

    Raises:
        UserError: The same path twice.

    >>> distinct_names(["runs/a/evaluation/results.json", "runs/b/evaluation/results.json"])
    ['a', 'b']
    """
    parts = [Path(path).resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError(f"The same path is given twice: {', '.join(map(str, paths))}.")
    if len(parts) == 1:
        return [parts[0][-1]]
    start = len(os.path.commonprefix(parts))
    ends = [path[start:][::-1] for path in parts]
    shared = len(os.path.commonprefix(ends))
    # One path may be the start of another: then it goes by the last part of what they share.
    return ["/".join(end[shared:][::-1]) or path[start - 1] for end, path in zip(ends, parts, strict=True)]


def device() -> torch.device:
    """CUDA where there is a device."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def need(config: Config, *keys: str) -> None:
    """Raise UserError where a config lacks one of the keys."""
    if missing := [key for key in keys if key not in config]:
        raise UserError(f"The config lacks {', '.join(missing)}.")


def build_dataset(key: str, settings: dict) -> Any:
    """Build a data set; what is wrong becomes a UserError that names the config key."""
    with user_errors(key):
        return DATASETS.build(copy.deepcopy(settings))


def class_names(dataset: Any) -> list[str]:
    """Names of a data set's classes, or their numbers."""
    return list(dataset.classes or [str(index) for index in range(dataset.num_classes)])


def loading_settings(config: Config) -> dict[str, int]:
    """How evaluation passes over images: ``batch_size`` and ``num_workers``."""
    settings = config.get("evaluation", {})
    return dict(batch_size=settings.get("batch_size", 512), num_workers=settings.get("num_workers", 0))


def chosen_images(dataset: Any, count: int, seed: int) -> torch.Tensor:
    """Images that the seed chooses, uint8 (count, C, H, W) on the CPU."""
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
    return next(batches(dataset, rows, batch_size=count))["inputs"].cpu()
