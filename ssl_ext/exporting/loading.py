"""Backbones with their preprocessing, from a run or a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.config import Config
from safetensors import SafetensorError, safe_open

from ssl_ext.config.networks import choose_device, random_network
from ssl_ext.config.stored import BACKBONE_ALONE, config_of_checkpoint, method_name, stored_training
from ssl_ext.datasets.image_files import reading_options
from ssl_ext.engine import LoadReport, checkpoint_of, load_weights
from ssl_ext.engine.weights.files import read_weights, weight_files
from ssl_ext.errors import UserError
from ssl_ext.evaluation.identity import dataset_name
from ssl_ext.files import shown
from ssl_ext.models.evaluated import EvaluatedModel
from ssl_ext.models.selfsup.base import TrainableModel
from ssl_ext.registry import registered_only

from .classifier import KEY, load_classifier
from .embedder import Embedder
from .formats import from_strings


def load(
    source: str | os.PathLike,
    *,
    config: Config | str | os.PathLike | None = None,
    image_size: int | None = None,
    device: str | torch.device | None = None,
    allow_partial: bool = False,
    ema: bool = False,
) -> Embedder:
    """Load a backbone with its preprocessing; nothing of a file is run.

    Args:
        source: Work dir of a run (its newest checkpoint), checkpoint, classifier of ``evaluate --save``, or
            file of ``export`` other than ONNX; with ``config`` any file that
            :func:`ssl_ext.engine.load_weights` reads.
        config: Config of the training; default: the one in the file, or beside it.
        image_size: Size in pixels to which images are resized and cropped; default: that of the training.
        device: Default CUDA if available.
        allow_partial: Accept a file that lacks tensors of the backbone, or has more layers.
        ema: Load the EMA weights of the file (``state_dict_ema``) instead of the raw weights.

    Returns:
        A module from images to features; printing it tells what it is.

    Raises:
        UserError: The file is missing, damaged, of another network, or would run code; or it has no config.
    """
    path = checkpoint_of(source)
    if path.suffix == ".onnx":
        raise UserError(f"'{shown(path)}' is an ONNX model, which onnxruntime runs: give its checkpoint.")
    content = read_weights(path)
    target = choose_device(device)
    classifier = content.get(KEY) if isinstance(content, dict) and config is None else None
    if classifier is not None:
        loaded = load_classifier(path, target)
        network, method = loaded.network, loaded.about.get("name")
        about: dict[str, Any] = dict(dataset=loaded.dataset, image_size=loaded.image_size)
    else:
        settings, model, report = stored_network(
            path, content, config, target, allow_partial=allow_partial, ema=ema
        )
        recorded = record(path, content), report.training
        network, method = EvaluatedModel(model), trained_method(settings, *recorded)
        about = trained_on(*recorded)
    if image_size is not None:
        about["image_size"] = (image_size, image_size)
    return Embedder(network, str(method), source=path, **about)


def stored_network(
    path: str | os.PathLike,
    content: Any,
    config: Config | str | os.PathLike | None,
    device: torch.device,
    **loading: bool,
) -> tuple[Config, TrainableModel, LoadReport]:
    """Build the network of a file and load its weights.

    Args:
        path: Path of the file.
        content: Result of :func:`ssl_ext.engine.weights.files.read_weights`.
        config: Config named by the user, if any; else see :func:`.config_of_checkpoint`.
        device: Device of the network.
        **loading: Arguments of :func:`ssl_ext.engine.load_weights`.

    Raises:
        UserError: No usable config, or weights of another network.
    """
    settings = config_of_checkpoint(path, {"meta": record(path, content)}, config)
    if "model" not in settings:
        raise UserError("The config lacks model.")
    with registered_only() if config is None else nullcontext():
        model = random_network(settings, seed=0, device=device)
    return settings, model, load_weights(model, path, **loading)


def trained_method(settings: Config, meta: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Name of the method: of the config, or if that holds the backbone alone, of the stored training.

    ``meta`` and ``training`` as in :func:`trained_on`.
    """
    name = method_name(settings.model)
    if name != BACKBONE_ALONE:
        return name
    return str(meta.get("method") or stored_training(training).get("method", name))


def trained_on(meta: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Data set (type, name, how it reads files), size (height, width) of its images, and epochs, where known.

    Args:
        meta: :func:`record` of a checkpoint or of an exported file.
        training: :attr:`ssl_ext.engine.LoadReport.training`.
    """
    known, exported = stored_training(training), meta.get("source")
    dataset, described = known.get("datasets", [meta.get("dataset")])[0], meta.get("dataset_meta", meta)
    found: dict[str, Any] = {}
    if isinstance(dataset, Mapping):
        options = reading_options(dataset).items()
        reading = {key: value for key, value in options if key not in ("image_size", "channels")}
        found["dataset"] = dict(type=str(dataset.get("type")), name=dataset_name(dataset), **reading)
    match described.get("image_size") if isinstance(described, Mapping) else None:
        case (int(height), int(width)) if min(height, width) > 0:
            found["image_size"] = height, width
    match known.get("epoch", exported.get("epoch") if isinstance(exported, Mapping) else None):
        case int(epoch):
            found["epoch"] = epoch
    return found


def record(path: str | os.PathLike, content: Any) -> Mapping[str, Any]:
    """``meta`` of a weight file, of a safetensors file its metadata; empty without one."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    files = weight_files(path)
    if len(files) == 1 and files[0].suffix.lower() == ".safetensors":
        try:
            with safe_open(files[0], "pt") as file:
                meta = from_strings(file.metadata() or {})
        except (SafetensorError, OSError):
            meta = None
    return meta if isinstance(meta, Mapping) else {}
