"""The figure of a detector's boxes."""

from __future__ import annotations

import os

import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from torch.utils.data import Subset

from ssl_ext.config.data import build_dataset
from ssl_ext.config.load import load_config
from ssl_ext.config.networks import random_network
from ssl_ext.engine import load_weights
from ssl_ext.errors import UserError, user_errors
from ssl_ext.visualization import detection_panels

MAX_IMAGES = 16


def detections_figure(
    config: Config | str | os.PathLike,
    checkpoint: str | os.PathLike,
    *,
    images: int = 4,
    threshold: float = 0.5,
    seed: int = 0,
    options: dict | None = None,
) -> Figure:
    """Annotated and detected boxes on images of ``evaluation_dataset``.

    Backbone and normalisation are those of the checkpoint.

    Args:
        config: Of the detection run.
        checkpoint: Of the detection run.
        images: How many, 1 to 16; the seed chooses them.
        threshold: Detections with a lower score are not drawn; in [0, 1].
        seed: Chooses the images.
        options: Config keys to override.

    Raises:
        UserError: Bad input, or a checkpoint that does not hold this detector.
    """
    # Only this figure needs detection.
    from ssl_ext.detection import FasterRCNN, initialize
    from ssl_ext.detection.evaluation_hook import detect

    config = load_config(config, options, required=("model", "evaluation_dataset"))
    if config.model.get("type") != FasterRCNN.__name__:
        raise UserError(f"The config's model is a {config.model.get('type')}: detections need a FasterRCNN.")
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold is {threshold}; it must lie in [0, 1].")
    dataset = build_dataset("evaluation_dataset", config.evaluation_dataset)
    limit = min(MAX_IMAGES, len(dataset))
    if not 1 <= images <= limit:
        raise UserError(f"--images is {images}; from 1 to {limit} images can be drawn.")
    initialize(config, resume_from=checkpoint)
    model = random_network(config, seed=0)
    report = load_weights(model, checkpoint)
    if lacking := [*report.missing, *report.mismatched]:
        raise UserError(
            f"Checkpoint '{checkpoint}' does not hold the detector of the config: {len(lacking)} tensors are "
            f"missing or of another shape, among them {lacking[-1]}."
        )
    classes = dataset.metainfo["classes"]
    if model.num_classes != len(classes):
        raise UserError(f"model.num_classes is {model.num_classes} and evaluation_dataset has {classes}.")
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:images].tolist()
    found, true = zip(*detect(model, Subset(dataset, rows)), strict=True)
    with user_errors("detections"):
        pictures = [dataset[row]["inputs"] for row in rows]
        return detection_panels(pictures, true, found, classes, threshold=threshold)
