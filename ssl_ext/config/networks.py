"""Networks as evaluation needs them: at a seeded random start, or frozen as an embedding."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ssl_ext.errors import UserError
from ssl_ext.evaluation import (
    batches,
    cache_key,
    dataset_fingerprint,
    evaluation_mode,
    weights_fingerprint,
)

from .build import build_model


def without_pretrained(value: Any) -> Any:
    """A model config without the parts that load weights when a network is initialised, at any depth."""
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


def random_network(config: Config, *, seed: int, device: torch.device) -> nn.Module:
    """The config's network at its seeded random start, in evaluation mode.

    The caller's random state is untouched.
    """
    config = copy.deepcopy(config)
    config.model = without_pretrained(config.model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config)
    if config.get("channels_last", False):
        model = model.to(memory_format=torch.channels_last)
    return model.to(device).eval()


class Embedding(nn.Module):
    """A model's pooled backbone features (N, D) of clean normalised images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clean: Tensor) -> Tensor:
        """Embed normalised images (N, C, H, W)."""
        return self.model.extract_embedding(clean)

    def clean(self, images: Tensor) -> Tensor:
        """Normalised images on the model's device, from uint8 (N, C, H, W)."""
        return self.model.data_preprocessor(dict(inputs=images), False)["inputs"]

    def embed(self, images: Tensor) -> Tensor:
        """Features of uint8 images."""
        return self(self.clean(images))

    def cache_file(self, folder: Path, dataset: Any, split: str) -> Path | None:
        """Where features of a data set belong; None for a data set that cannot be fingerprinted.

        The name changes with the backbone, the data and the preprocessing: what it makes of a ramp
        tells mean, std and whatever else it applies.
        """
        data = dataset_fingerprint(dataset)
        if data is None:
            return None
        shape = next(batches(dataset, torch.zeros(1, dtype=torch.int64)))["inputs"].shape
        ramp = (torch.arange(shape.numel()) % 256).to(torch.uint8).reshape(shape)
        probe = self.clean(ramp).cpu().numpy().tobytes()
        key = cache_key(weights_fingerprint(self.model.backbone), data, probe)
        return folder / f"{split}_{key}.npz"


class AugmentedView:
    """Random views of uint8 images (N, C, H, W), normalised, on the preprocessor's device."""

    def __init__(self, augmentation: nn.Module, preprocessor: nn.Module) -> None:
        self.augmentation, self.preprocessor = augmentation, preprocessor

    def __call__(self, images: Tensor) -> Tensor:
        """One draw for each image."""
        images = self.preprocessor.cast_data(images)
        return self.preprocessor.normalize(self.augmentation(images))

    def __repr__(self) -> str:
        return repr(self.augmentation)


def check_images(model: nn.Module, dataset: Any, what: str) -> None:
    """Try the network on two images of a data set.

    Raises:
        UserError: It does not take them; ``what`` names the set.
    """
    images = next(batches(dataset, torch.arange(min(2, len(dataset)))))["inputs"]
    size, channels = "×".join(map(str, images.shape[2:])), images.shape[1]
    expected = len(model.normalization[0]) if model.normalization else channels
    if channels != expected:
        hint = " (as_rgb=True makes three equal ones of a grey channel)" if channels == 1 else ""
        raise UserError(
            f"{what}: its images have {channels} channels, the network takes {expected}{hint}; "
            "data_preprocessor.mean of the config has one value for each."
        )
    embedding = Embedding(model)
    try:
        with evaluation_mode(model):
            embedding.embed(images)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{what}: the network does not take its images of {size} pixels ({error})."
        ) from error


def pixels(images: Tensor) -> Tensor:
    """Raw pixels in [0, 1] as features: (N, C, H, W) uint8 to (N, C·H·W)."""
    return images.flatten(1).float() / 255
