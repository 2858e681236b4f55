"""Trained classifiers: network, linear head, classes, preprocessing and origin in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ssl_ext.config.networks import choose_device, random_network
from ssl_ext.config.stored import network_text, stored_config
from ssl_ext.engine import load_weights
from ssl_ext.engine.weights.checkpoint import stored_meta
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError
from ssl_ext.evaluation import evaluation_mode
from ssl_ext.evaluation.calibration import feature_distance, tempered
from ssl_ext.evaluation.linear_head import LinearHead
from ssl_ext.evaluation.tasks import num_outputs, probabilities
from ssl_ext.models.evaluated import PRECISIONS, EvaluatedModel
from ssl_ext.models.utils import pool_features
from ssl_ext.registry import registered_only

from .formats import tensors_of, torch_file

KEY = "classifier"


@dataclass(frozen=True)
class Calibration:
    """Figures of validation images, and features of training images.

    ``thresholds`` are probabilities at ``temperature``, one for each column of the scores (None if they were
    not stored), which at most a share of 1 − ``specificity`` of the negative validation images exceed.
    ``bank`` has features (M, D) of training images, ``distances`` the rising distances (V,) of validation
    images to them.
    """

    temperature: float
    thresholds: Sequence[float] | None
    specificity: float
    bank: Tensor
    distances: Tensor


@dataclass(frozen=True)
class Prediction:
    """Probabilities and distances of N images.

    ``scores`` (N, C) are the classifier's probabilities, and ``calibrated`` those at its temperature.
    ``distance`` (N,) is that to the training features, and ``rank`` (N,) the share of the validation images
    that are nearer.
    """

    scores: Tensor
    calibrated: Tensor
    distance: Tensor
    rank: Tensor


@dataclass(frozen=True)
class Classifier:
    """A network with a linear head.

    ``classes`` are names, or None. ``image_size`` is (height, width) of the images that the classifier was
    trained on, and ``dataset`` the config of their data set. ``about`` tells how it was trained: the result
    row of its measurement, its ``name`` and its ``epoch``, ``'last'`` or ``'best'``.
    """

    network: EvaluatedModel
    head: LinearHead
    num_classes: int
    classes: Sequence[str] | None
    image_size: tuple[int, int]
    dataset: Mapping[str, Any]
    about: Mapping[str, Any]
    calibration: Calibration

    @property
    def task(self) -> str:
        """``'multi-class'``, ``'ordinal'``, ``'binary'`` or ``'multi-label'``."""
        return self.head.task

    def scores(self, images: Tensor) -> Tensor:
        """Class probabilities (N, C) of uint8 images (N, channels, H, W); (N, 1) for ``binary``."""
        with evaluation_mode(self.network):
            return self.head.scores(self.network.embed(images))

    def predict(self, images: Tensor) -> Prediction:
        """Probabilities of uint8 images (N, channels, H, W), and their distances to the training images."""
        known = self.calibration
        with evaluation_mode(self.network):
            features = self.network.embed(images)
            scores = self.head.scores(features)
            distance = feature_distance(features, known.bank)
        rank = torch.searchsorted(known.distances, distance).double() / max(1, len(known.distances))
        calibrated = tempered(scores, known.temperature, self.task)
        return Prediction(*(part.cpu() for part in (scores, calibrated, distance, rank)))

    def encoded(self, config: Config) -> bytes:
        """Content of the file; ``config`` is that of the network."""
        mean, std = self.network.model.normalization or (None, None)
        backbone = tensors_of(self.network.model.backbone)
        content = {
            "meta": {"cfg": network_text(config)},
            "state_dict": {f"backbone.{name}": value for name, value in backbone.items()},
            KEY: {
                "weight": self.head.weight.cpu(),
                "bias": self.head.bias.cpu(),
                "task": self.task,
                "num_classes": self.num_classes,
                "classes": None if self.classes is None else list(self.classes),
                "image_size": list(self.image_size),
                "mean": mean,
                "std": std,
                "precision": self.network.precision,
                "dataset": dict(self.dataset),
                "about": dict(self.about),
                "calibration": {
                    **vars(self.calibration),
                    "bank": self.calibration.bank.half().cpu(),
                    "distances": self.calibration.distances.cpu(),
                },
            },
        }
        return torch_file(content)


def load_classifier(path: str | os.PathLike, device: str | torch.device | None = None) -> Classifier:
    """Load a file of ``ssl-ext evaluate --save``; nothing of it is run.

    Args:
        path: The file.
        device: Device of the network; default CUDA if available.

    Raises:
        UserError: The file is missing or damaged, or has no classifier.
    """
    content = read_weights(path)
    stored = content.get(KEY) if isinstance(content, dict) else None
    config = stored_config(content, path)
    if not isinstance(stored, dict) or config is None:
        raise UserError(
            f"'{path}' has no classifier; train one, and give its file: "
            f"ssl-ext evaluate CONFIG '{path}' --protocols linear --save"
        )
    with registered_only():
        model = random_network(config, seed=0, device=choose_device(device))
    # The file has no neck.
    load_weights(nn.ModuleDict({"backbone": model.backbone}), path)
    try:
        own = next(model.parameters()).device
        weight, bias = (stored[key].to(own) for key in ("weight", "bias"))
        if num_outputs(stored["num_classes"], stored["task"]) != len(weight):
            raise ValueError(f"{len(weight)} outputs for {stored['num_classes']} classes, {stored['task']}")
        height, width = stored["image_size"]
        if stored["precision"] not in PRECISIONS:
            raise ValueError(f"its precision is {stored['precision']!r}")
        found = Classifier(
            EvaluatedModel(model, stored["precision"]),
            LinearHead(weight, bias, stored["task"]),
            stored["num_classes"],
            stored["classes"],
            (height, width),
            stored["dataset"],
            stored["about"],
            Calibration(**on_device(stored["calibration"], own)),
        )
        images = torch.zeros(1, len(stored["mean"] or (0, 0, 0)), height, width, dtype=torch.uint8)
        found.predict(images)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"'{path}' has a damaged classifier ({type(error).__name__}: {error}).") from error
    return found


def on_device(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Copy a mapping with its tensors on a device."""
    return {key: value.to(device) if torch.is_tensor(value) else value for key, value in values.items()}


class ClassifierModule(nn.Module):
    """Network of a classifier: normalised images (N, C, H, W) to calibrated probabilities (N, C), float32."""

    weight: Tensor
    bias: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.backbone, self.task = classifier.network.model.backbone, classifier.task
        temperature = classifier.calibration.temperature
        self.register_buffer("weight", (classifier.head.weight / temperature).float())
        self.register_buffer("bias", (classifier.head.bias / temperature).float())

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of each class; (N, 1) for ``binary``."""
        features = pool_features(self.backbone(images))
        return probabilities(nn.functional.linear(features, self.weight, self.bias), self.task)


def classifier_name(path: str | os.PathLike) -> str | None:
    """Describe the training of a file's classifier in words; None for another file."""
    about = stored_meta(path).get(KEY) if Path(path).is_file() else None
    about = about.get("about") if isinstance(about, dict) else None
    name = about.get("name") if isinstance(about, dict) else None
    return name if isinstance(name, str) else None
