"""The figure of training images and their views."""

from __future__ import annotations

import os

import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from ssl_ext.config.data import build_dataset
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import build_model
from ssl_ext.errors import UserError, user_errors
from ssl_ext.visualization import view_grid

from .images import chosen_images

MAX_ROWS = 64


def views_figure(
    config: Config | str | os.PathLike, *, images: int = 8, seed: int = 0, options: dict | None = None
) -> Figure:
    """Training images and views as drawn in pretraining.

    Args:
        config: A config with ``train_dataloader.dataset`` and ``views``.
        images: Number of images, 1 to 64.
        seed: Seed of images and views.
        options: Config keys to override.

    Raises:
        UserError: Bad input, or a config without views.
    """
    config = load_config(config, options, required=("model", "train_dataloader"))
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
