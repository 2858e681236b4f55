"""Initialisation of a detector from a pretraining run."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ssl_ext.config.locate import config_file, read_config
from ssl_ext.config.stored import stored_config
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import UserError, user_errors

IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
KEYS = {"checkpoint", "pretraining", "mean", "std", "channel_order"}
PREPROCESSORS = ("MultiViewPreprocessor", "DetectionPreprocessor")
STATISTICS = ("mean", "std", "channel_order")
# Backbone settings of the detector.
OWN = ("norm_cfg", "out_indices", "num_stages", "frozen_stages", "norm_eval", "init_cfg")


def initialize(
    config: Config,
    checkpoint: str | os.PathLike | None = None,
    resume_from: str | os.PathLike | None = None,
) -> str | None:
    """Transfer backbone and normalisation settings of a pretraining run to a detection config.

    Backbone (depth, width, stem), mean and std are taken from the pretraining config: the one stored in the
    checkpoint, else ``init.pretraining``. Without both, mean and std are those recorded in a file of
    ``tools/export.py``. ``init.mean``, ``init.std`` and ``init.channel_order`` take precedence. With none of
    them (random weights) nothing changes.

    Args:
        config: Detection config, changed in place. ``init`` may hold ``checkpoint`` (path), ``pretraining``
            (path of a config, or ``'torchvision'`` for ImageNet's statistics), ``mean``, ``std`` and
            ``channel_order``.
        checkpoint: Overrides ``init.checkpoint``.
        resume_from: Checkpoint of a detection run to resume, with its backbone and normalisation.

    Returns:
        Path of the weights to load, or None.

    Raises:
        UserError: Unknown key of ``init``, unknown normalisation of the weights, or a stem that differs
            from the detection config's.
    """
    settings = config.get("init") or ConfigDict()
    unknown = set(settings) - KEYS
    if unknown:
        raise UserError(f"init has the unknown keys {sorted(unknown)}; allowed are {sorted(KEYS)}.")
    path = str(resume_from or checkpoint or settings.get("checkpoint") or "") or None
    source, origin = None, settings.get("pretraining")
    if path:
        content = read_weights(path)
        source = stored_config(content, path)
        origin = path if source else origin
    if source is None and origin not in (None, "torchvision"):
        try:
            config_file(origin)
        except UserError as error:
            message = f"init.pretraining '{origin}' is neither a config file nor 'torchvision'."
            raise UserError(message) from error
        source = read_config(origin)
    found = dict(IMAGENET, channel_order="rgb") if origin == "torchvision" else {}
    if path and origin is None:
        found = exported_statistics(content)
    if source is not None:
        with user_errors(f"The config of '{origin}'"):
            found = statistics(source, str(origin))
            take_backbone(config, source["model"]["backbone"], str(origin))
    found.update({key: settings[key] for key in STATISTICS if settings.get(key) is not None})
    if path and not {"mean", "std"} <= set(found):
        raise UserError(
            f"'{path}' holds no config with the normalisation of its images: set init.pretraining to "
            "the config of its training ('torchvision' for torchvision's weights), or init.mean and init.std."
        )
    config.model.data_preprocessor.update(found)
    if resume_from and source:
        origin_of_run = source.get("init")
        started = origin_of_run.get("checkpoint") if isinstance(origin_of_run, Mapping) else None
    else:
        started = path
    config.init = ConfigDict(settings, checkpoint=started)
    used = {key: config.model.data_preprocessor.get(key) for key in STATISTICS}
    print_log(f"Backbone and normalisation of {origin or 'the detection config'}: {used}", logger="current")
    return None if resume_from else path


def statistics(source: Mapping, origin: str) -> dict:
    """Return mean, std and channel order (default RGB) of a pretraining config.

    Raises:
        UserError: The config uses an unknown preprocessor, or has no mean.
    """
    settings = source["model"].get("data_preprocessor") or source.get("data_preprocessor") or {}
    if settings.get("type", PREPROCESSORS[0]) not in PREPROCESSORS or "mean" not in settings:
        raise UserError(
            f"'{origin}' has an unknown data preprocessor ({settings.get('type')}) or no mean: "
            "set init.mean, init.std and init.channel_order."
        )
    order = settings.get("channel_order", "rgb")
    return dict(mean=list(settings["mean"]), std=list(settings["std"]), channel_order=order)


def exported_statistics(content: object) -> dict:
    """Return mean, std and channel order that a file of ``tools/export.py`` records; empty for others."""
    about = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(about, Mapping) or not {*STATISTICS} <= about.keys():
        return {}
    order = str(about["channel_order"]).lower()
    return dict(mean=list(about["mean"]), std=list(about["std"]), channel_order=order)


def take_backbone(config: Config, backbone: Mapping, origin: str) -> None:
    """Replace the detector's backbone settings by those of the pretraining, except for ``OWN``.

    Raises:
        UserError: The stems differ; image and anchor sizes depend on the stride.
    """
    ours, theirs = config.model.backbone.type, backbone["type"]
    if ours != theirs:
        raise UserError(
            f"The backbone of '{origin}' is a {theirs}, but the image and anchor sizes of the detection "
            f"config are made for a {ours}, which has a different stride: use a detection config with "
            f"model.backbone.type='{theirs}'."
        )
    kept = {key: value for key, value in backbone.items() if key not in OWN}
    config.model.backbone = ConfigDict(kept)
