"""Networks from a config: with initial weights, and checked against the images of a data set."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from torch import nn

from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import batches, evaluation_mode
from ssl_ext.models.evaluated import EvaluatedModel
from ssl_ext.models.selfsup.base import TrainableModel, adapted
from ssl_ext.models.utils import pool_features
from ssl_ext.models.utils.channels_last import protect_narrow, to_channels_last
from ssl_ext.registry import MODELS

from .arguments import check_model

Embedding = EvaluatedModel  # former name
# Config of a backbone, as text → size of its features.
_FEATURE_SIZES: dict[str, int | None] = {}


def build_model(config: Config) -> TrainableModel:
    """Build the model of a config and initialise its weights with torch's global generator.

    The preprocessor is built from the config keys ``data_preprocessor`` (mean and std) and ``views``, which
    can be inherited from different files. ``model.data_preprocessor`` overrides both.

    ``in_channels`` of the projector (or classifier) and of a mix block are replaced where they are not the
    size of the backbone's features.

    Raises:
        UserError: A class that is not registered, or an invalid argument.
    """
    settings = copy.deepcopy(config.model)
    if "data_preprocessor" not in settings and "data_preprocessor" in config:
        settings.data_preprocessor = dict(
            {"type": "MultiViewPreprocessor", "views": config.get("views", ())},
            **copy.deepcopy(config.data_preprocessor),
        )
    check_model(settings)
    with user_errors("model"):
        _fit_widths(settings)
        model = adapted(MODELS.build(settings))
    with _quiet(), user_errors("model, initial weights"):
        model.init_weights()
    protect_narrow(model)
    return model


def _fit_widths(settings: dict) -> None:
    """Set ``in_channels`` of projector (or classifier) and mix block to the size of the features they get."""
    if not (backbone := settings.get("backbone")):
        return
    stage = settings.get("feature_stage", 3)
    first = "neck" if settings.get("neck") else "head"
    for key, network, words in (
        (first, backbone, "model.backbone"),
        ("mix_block", dict(backbone, out_indices=(stage - 1,)), f"stage {stage} of model.backbone"),
    ):
        part = settings.get(key)
        if not isinstance(part, dict) or "in_channels" not in part:
            continue
        if key == "mix_block" and stage not in range(1, backbone.get("num_stages", 4) + 1):
            continue  # the model names the allowed stages
        size = feature_size(network)
        if size and part["in_channels"] != size:
            print_log(
                f"model.{key}.in_channels is {part['in_channels']}, and {words} has {size} features: "
                f"{size} is used.",
                logger="current",
            )
            part["in_channels"] = size


def feature_size(backbone: dict) -> int | None:
    """Number of pooled features of a backbone config; None if it takes more than images.

    Raises:
        ValueError: A network of timm whose feature maps are NHWC.
    """
    key = json.dumps(backbone, sort_keys=True, default=repr)
    if key not in _FEATURE_SIZES:
        with torch.random.fork_rng(devices=[]), _quiet():
            network = MODELS.build(without_pretrained(copy.deepcopy(backbone)))
        network.eval()  # those of MMPretrain return None
        if any(getattr(part, "output_fmt", None) == "NHWC" for part in network.children()):
            raise ValueError("model.backbone has its channels last (NHWC); feature maps are taken as NCHW")
        stem = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
        sides = [m.img_size for m in network.modules() if hasattr(m, "img_size")]
        side = sides[0] if sides else 64
        images = torch.zeros(
            1, stem.in_channels if stem else 3, *((side, side) if isinstance(side, int) else side)
        )
        try:
            with torch.no_grad():
                _FEATURE_SIZES[key] = pool_features(network(images)).shape[1]
        except (TypeError, RuntimeError, ValueError, AttributeError):
            # The backbone also needs masks, or accepts another image size only.
            _FEATURE_SIZES[key] = None
    return _FEATURE_SIZES[key]


def without_pretrained(value: Any) -> Any:
    """Copy a model config without the settings that make ``init_weights`` load files."""
    if isinstance(value, dict):
        kept = {
            key: without_pretrained(item)
            for key, item in value.items()
            if key != "pretrained" and not _loads_weights(item)
        }
        return type(value)(kept)
    if isinstance(value, (list, tuple)):
        return type(value)(without_pretrained(item) for item in value if not _loads_weights(item))
    return value


def _loads_weights(init: Any) -> bool:
    name = init.get("type") if isinstance(init, dict) else None
    return isinstance(name, str) and name.rpartition(".")[2] in ("Pretrained", "PretrainedInit")


def random_network(config: Config, *, seed: int, device: torch.device | None = None) -> TrainableModel:
    """Build the config's network with random weights from a seed, in evaluation mode.

    By default on CUDA if available. Global random states are left unchanged.
    """
    config = copy.deepcopy(config)
    config.model = without_pretrained(config.model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config)
    if config.get("channels_last", False):
        to_channels_last(model)
    return model.to(choose_device(device)).eval()


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the named device; by default CUDA if available.

    Raises:
        UserError: An unknown device, or CUDA if it is not available.
    """
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"device={device!r} is not a torch device, such as cpu or cuda.") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={device!r}: no CUDA device is available.")
    return found


def check_images(network: EvaluatedModel, dataset: Any, key: str) -> None:
    """Run the network on two images of a data set.

    Raises:
        UserError: The network does not accept them; ``key`` names the data set.
    """
    model = network.model
    images = next(batches(dataset, torch.arange(min(2, len(dataset)))))["inputs"]
    size, channels = "×".join(map(str, images.shape[2:])), images.shape[1]
    expected = len(model.normalization[0]) if model.normalization else channels
    if channels != expected:
        hint = " (as_rgb=True repeats a grey channel three times)" if channels == 1 else ""
        raise UserError(
            f"{key}: the images have {channels} channels, but the network takes {expected}{hint}; "
            "data_preprocessor.mean must have one value per channel."
        )
    try:
        with evaluation_mode(model):
            network.embed(images)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{key}: the network does not accept images of {size} pixels ({error}).") from error


@contextmanager
def _quiet() -> Iterator[None]:
    # MMEngine logs three lines for every parameter that it initialises.
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
