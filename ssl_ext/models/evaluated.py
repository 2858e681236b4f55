"""A network as evaluation uses it: uint8 images in, one feature vector per image out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.evaluation import batches, cache_key, dataset_fingerprint, weights_fingerprint

from .selfsup.base import TrainableModel


class EvaluatedModel(nn.Module):
    """Pooled backbone features (N, D) of a model, without augmentation."""

    def __init__(self, model: TrainableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, clean: Tensor) -> Tensor:
        """Features of normalised images (N, C, H, W)."""
        return self.model.extract_embedding(clean)

    def clean(self, images: Tensor) -> Tensor:
        """Normalised images on the model's device, from uint8 (N, C, H, W)."""
        return self.model.data_preprocessor(dict(inputs=images), False)["inputs"]

    def embed(self, images: Tensor) -> Tensor:
        """Features of uint8 images."""
        return self(self.clean(images))

    def cache_file(self, folder: Path, dataset: Any, split: str) -> Path | None:
        """Path of the cached features of a data set; None for a data set without a fingerprint.

        The name is a hash of backbone weights, data and preprocessing (its output for a fixed ramp of grey
        values, which depends on mean, std and every other step).
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

    def __init__(self, augmentation: nn.Module, preprocessor: Any) -> None:
        self.augmentation, self.preprocessor = augmentation, preprocessor

    def __call__(self, images: Tensor) -> Tensor:
        """One view of each image."""
        images = self.preprocessor.cast_data(images)
        return self.preprocessor.normalize(self.augmentation(images))

    def __repr__(self) -> str:
        return repr(self.augmentation)
