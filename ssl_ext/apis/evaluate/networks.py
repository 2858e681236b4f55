"""The networks under evaluation: a checkpoint's, random ones, and raw pixels as a baseline."""

from __future__ import annotations

import copy
import logging
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ssl_ext.config.networks import random_network
from ssl_ext.config.recipes import VIEWS, ImageRecipe
from ssl_ext.config.stored import method_name, stored_training, unfinished
from ssl_ext.engine import checkpoint_of, load_weights
from ssl_ext.engine.weights.checkpoint import INTERRUPTED, stored_meta
from ssl_ext.engine.weights.files import weights_hash
from ssl_ext.errors import OtherNetworkError, UserError
from ssl_ext.models import MultiViewPreprocessor, build_augmentation
from ssl_ext.models.evaluated import FLOAT32, AugmentedView, EvaluatedModel, first_view

from .data import EvaluationData, Features
from .plan import Measurement


class Networks:
    """Networks of a config and their features, by measurement.

    Network and features of the current method (and seed, if it has a network per seed) are cached, because a
    plan processes one method after another.

    Args:
        config: Config with ``model``.
        checkpoint: Path of the weights to evaluate; None for random weights.
        seed: Seed of the random network that is used to check the images.
        device: Device of all networks.
        allow_partial: Accept a checkpoint that lacks tensors of the backbone, or has more layers.
        ema: Load the EMA weights of the file instead of the raw weights.
        precision: Precision of features, ``'float32'`` or ``'bfloat16'``.
        renamed: The user has set the method name of the rows, so the checkpoint may be of another method.

    Raises:
        UserError: The model cannot be built, or the checkpoint does not fit it.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: Any,
        *,
        seed: int,
        device: torch.device,
        allow_partial: bool = False,
        ema: bool = False,
        precision: str = FLOAT32,
        renamed: bool = False,
    ) -> None:
        self.config, self.device, self.precision = config, device, precision
        self.main = self._random(seed)
        self.checkpoint: dict[str, Any] | None = None
        self.pretraining: dict[str, Any] | None = None
        if checkpoint is not None:
            try:
                report = load_weights(self.main.model, checkpoint, allow_partial=allow_partial, ema=ema)
                self.pretraining = stored_training(report.training)
                self._check_method(checkpoint, self.pretraining.pop("method", None), renamed)
            except OtherNetworkError as error:
                raise UserError(f"{error}{_config_beside(checkpoint, config)}") from error
            self.checkpoint = {"path": str(checkpoint), "sha256": weights_hash(checkpoint)}
            if ema:
                self.checkpoint["weights"] = "averaged"
            if not report.whole:
                self.checkpoint["seed"] = seed  # of the other layers
                self.checkpoint["partial"] = f"{report.backbone_share:.1%} of the backbone"
                if report.foreign:
                    self.checkpoint["partial"] += f", without {len(report.foreign)} tensors of the file"
        self._key: tuple[str, int | None] | None = None
        self._network: EvaluatedModel | None = None
        self._features: dict[int, Features] = {}

    def same_for_all_seeds(self, measurement: Measurement) -> bool:
        """True unless the method has a different random network for each seed."""
        return measurement.method not in ("untrained", "supervised")

    def get(self, measurement: Measurement) -> EvaluatedModel | None:
        """The network whose features are measured; None for raw pixels."""
        fixed = self.same_for_all_seeds(measurement)
        key = measurement.method, None if fixed else measurement.seed
        if key != self._key:
            self._features.clear()
            self._key = key
            if measurement.method == "pixels":
                self._network = None
            else:
                self._network = self.main if fixed else self._random(measurement.seed)
        return self._network

    def features(self, measurement: Measurement, data: EvaluationData) -> Features:
        """Features of a data set, computed once for each network."""
        network = self.get(measurement)
        if id(data) not in self._features:
            self._features[id(data)] = data.features(network)
        return self._features[id(data)]

    def start(self, measurement: Measurement) -> EvaluatedModel:
        """A new network to train: a copy of the method's network, or random weights for ``supervised``."""
        if measurement.method == "supervised":
            return self._random(measurement.labels.draw_seed)
        network = copy.deepcopy(self.get(measurement))
        assert network is not None  # raw pixels have no trained measurement
        return network

    def _check_method(self, checkpoint: Any, stored: str | None, renamed: bool) -> None:
        method = method_name(self.config.model)
        if stored not in (None, method) and not renamed:
            raise OtherNetworkError(
                f"Checkpoint '{checkpoint}' was trained with {stored}, but the config's method is {method}: "
                f"give the config of its training, or set the method name of the rows (--as {stored})."
            )

    def source(self, measurement: Measurement) -> dict[str, Any]:
        """Checkpoint and pretraining of the method (None for baselines), and backbone and neck."""
        model, method = self.config.model.to_dict(), measurement.method
        network = {key: model.get(key) for key in ("backbone", "neck")}
        baseline = method in ("untrained", "pixels", "supervised")
        return {
            "checkpoint": None if baseline else self.checkpoint,
            "pretraining": None if baseline else self.pretraining,
            "network": None if method == "pixels" else network,
        }

    def view(self, settings: ImageRecipe) -> AugmentedView | None:
        """Augmentation of a recipe; None for clean images.

        Raises:
            UserError: A preprocessor that cannot normalise augmented images.
        """
        preprocessor = self.main.model.data_preprocessor
        if settings.augment == VIEWS:
            return first_view(preprocessor)
        if not settings.augment:
            return None
        view = build_augmentation(settings.augment)
        if not isinstance(preprocessor, MultiViewPreprocessor):
            raise UserError(
                f"{settings.recipe.key}.augment: model.data_preprocessor {type(preprocessor).__name__} does "
                "not accept augmented images; use MultiViewPreprocessor, or set augment=None."
            )
        return AugmentedView(view, preprocessor)

    def normalization(self, measurement: Measurement) -> dict[str, Any]:
        """Pretraining's mean and std, which normalise the images of a transfer's target; else empty."""
        if measurement.target is None:
            return {}
        mean, std = self.main.model.normalization or ((), ())
        return {"normalization": "of the pretraining config", "mean": list(mean), "std": list(std)}

    def _random(self, seed: int) -> EvaluatedModel:
        return EvaluatedModel(random_network(self.config, seed=seed, device=self.device), self.precision)


def finished_checkpoint(source: str | os.PathLike) -> Path:
    """:func:`.checkpoint_of`, with a warning if a work dir's newest is not of the last epoch."""
    path = checkpoint_of(source)
    newest = path.name == INTERRUPTED or Path(source).is_dir()
    if newest and (words := unfinished(path, stored_meta(path))):
        print_log(words, logger="current", level=logging.WARNING)
    return path


def _config_beside(checkpoint: Any, config: Config) -> str:
    """Return a hint to the config in the checkpoint's work dir if it is not the given config."""
    folder = Path(checkpoint).parent
    found = list(folder.glob("*.py")) if (folder / "run.json").is_file() else []
    if len(found) != 1 or (config.filename and Path(config.filename).resolve() == found[0].resolve()):
        return ""
    return f" The run's config with all overrides is '{found[0]}': evaluate with that config."
