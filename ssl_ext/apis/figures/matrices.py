"""The figure of TriMix's similarities between mixed images."""

from __future__ import annotations

import os
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from ssl_ext.config.data import build_dataset
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import random_network
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError, user_errors
from ssl_ext.losses import virtual_similarity, virtual_targets
from ssl_ext.losses.virtual_similarity import probabilities_of_similarity
from ssl_ext.models import TriMixHead
from ssl_ext.models.evaluated import EvaluatedModel
from ssl_ext.visualization import trimix_matrices
from ssl_ext.visualization.matrices import MAX_BATCH

from .images import chosen_images


def matrices_figure(
    config: Config | str | os.PathLike,
    checkpoint: str | os.PathLike,
    *,
    batch: int = 10,
    lam: float = 0.7,
    seed: int = 0,
    split: str = "test",
    options: dict | None = None,
) -> Figure:
    """Similarities of mixed images and their targets in a TriMix network (Fig. 5 of TriMix).

    A training batch of images (or the split, if smaller) is drawn from the split without augmentation and
    mixed with its reversed copy: λ·x + (1 − λ)·flip(x). The network is in evaluation mode (running statistics
    in batch normalisation); embeddings are standardised over this batch, as in the loss. The figure shows
    the first and the last ``batch / 2`` images (and the middle one of an odd number), which are mixed with
    each other, so the targets are those of a batch of ``batch``. The softmax is over the shown mixed images.

    Args:
        config: A config whose head uses virtual embeddings.
        checkpoint: A checkpoint of this project with the projector.
        batch: Number of images shown, 2 to 32.
        lam: λ in [0, 1].
        seed: Chooses the images.
        split: Split of ``evaluation_dataset``.
        options: Config keys to override.

    Raises:
        UserError: Bad input, or a model without virtual embeddings.
    """
    config = load_config(config, options, required=("model", "evaluation_dataset"))
    if not 0 <= lam <= 1:
        raise UserError(f"--lam is {lam}; it must lie in [0, 1].")
    dataset = build_dataset("evaluation_dataset", dict(config.evaluation_dataset, split=split))
    limit = min(MAX_BATCH, len(dataset))
    if not 2 <= batch <= limit:
        raise UserError(f"--batch is {batch}; from 2 to {limit} images can be shown.")
    model: Any = random_network(config, seed=seed)
    head = model.head
    if not (isinstance(head, TriMixHead) and head.needs_virtual):
        raise UserError(
            f"model.head {type(head).__name__} does not use virtual embeddings in this config; the figure is "
            "only for TriMix with a virtual or a consistency term."
        )
    report = load_weights(model, checkpoint)
    if head.virtual_on == "z" and any(name.startswith("neck.") for name in report.missing):
        raise UserError(f"Checkpoint '{checkpoint}' has no projector (neck), which model.head needs.")

    size = max(batch, min(config.get("train_dataloader", {}).get("batch_size", batch), len(dataset)))
    size -= (size - batch) % 2
    with user_errors("model"), torch.no_grad():
        originals = chosen_images(dataset, size, seed)
        clean = EvaluatedModel(model).clean(originals)
        weight = torch.tensor(lam, device=clean.device)
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
