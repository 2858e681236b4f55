"""A network in evaluation: from uint8 images to one feature vector per image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.evaluation import batches, cache_key, dataset_fingerprint, evaluation_mode, weights_fingerprint

from .selfsup.base import TrainableModel

PRECISIONS = FLOAT32, BFLOAT16 = "float32", "bfloat16"


class EvaluatedModel(nn.Module):
    """Pooled backbone features (N, D) of a model, without augmentation.

    ``features`` and ``embed`` compute in ``precision``: ``'float32'``, or ``'bfloat16'`` by autocast.
    """

    def __init__(self, model: TrainableModel, precision: str = FLOAT32) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, clean: Tensor) -> Tensor:
        """Float32 features (N, D) of normalised images (N, C, H, W)."""
        return self.model.extract_embedding(clean)

    def clean(self, images: Tensor) -> Tensor:
        """Normalised images on the model's device, from uint8 (N, C, H, W)."""
        return self.model.data_preprocessor(dict(inputs=images), False)["inputs"]

    def features(self, clean: Tensor) -> Tensor:
        """Features (N, D) of normalised images, computed in ``precision`` and returned as float32."""
        low = self.precision == BFLOAT16
        with torch.autocast(clean.device.type, torch.bfloat16, enabled=low):
            return self(clean).float()

    def embed(self, images: Tensor) -> Tensor:
        """Features (N, D) of uint8 images (N, C, H, W)."""
        return self.features(self.clean(images))

    def relative_error(self, images: Tensor) -> float:
        """Relative L2 error of ``embed`` against features in float32."""
        with evaluation_mode(self.model):
            exact = self(self.clean(images)).float()
            return float((self.embed(images) - exact).norm() / exact.norm())

    def cache_file(self, folder: Path, dataset: Any, split: str) -> Path | None:
        """Path of the cached features of a data set; None for a data set without a fingerprint.

        The name is a hash of backbone weights, data, preprocessing (its output for a fixed ramp of grey
        values, which depends on every step of it) and any precision other than float32.
        """
        data = dataset_fingerprint(dataset)
        if data is None:
            return None
        shape = next(batches(dataset, torch.zeros(1, dtype=torch.int64)))["inputs"].shape
        ramp = (torch.arange(shape.numel()) % 256).to(torch.uint8).reshape(shape)
        probe = self.clean(ramp).cpu().numpy().tobytes()
        steps = probe if self.precision == FLOAT32 else (probe, self.precision)
        key = cache_key(weights_fingerprint(self.model.backbone), data, steps)
        return folder / f"{split}_{key}.npz"


class AugmentedView:
    """Draw normalised random views of uint8 images (N, C, H, W) on the preprocessor's device."""

    def __init__(self, augmentation: nn.Module, preprocessor: Any) -> None:
        self.augmentation, self.preprocessor = augmentation, preprocessor

    def __call__(self, images: Tensor) -> Tensor:
        """One view of each image."""
        images = self.preprocessor.cast_data(images)
        return self.preprocessor.normalize(self.augmentation(images))

    def __repr__(self) -> str:
        return repr(self.augmentation)
