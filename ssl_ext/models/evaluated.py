"""A network as evaluation uses it: uint8 images in, one feature vector per image out."""

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

    ``precision`` of ``features`` and ``embed``: ``'float32'``, or ``'bfloat16'`` by autocast.
    """

    def __init__(self, model: TrainableModel, precision: str = FLOAT32) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, clean: Tensor) -> Tensor:
        """Features of normalised images (N, C, H, W)."""
        return self.model.extract_embedding(clean)

    def clean(self, images: Tensor) -> Tensor:
        """Normalised images on the model's device, from uint8 (N, C, H, W)."""
        return self.model.data_preprocessor(dict(inputs=images), False)["inputs"]

    def features(self, clean: Tensor) -> Tensor:
        """Features of normalised images in the network's precision, returned as float32."""
        low = self.precision == BFLOAT16
        with torch.autocast(clean.device.type, torch.bfloat16, enabled=low):
            return self(clean).float()

    def embed(self, images: Tensor) -> Tensor:
        """Features of uint8 images."""
        return self.features(self.clean(images))

    def relative_error(self, images: Tensor) -> float:
        """Norm of the error of ``embed`` by its precision, over the norm of the float32 features."""
        with evaluation_mode(self.model):
            exact = self(self.clean(images)).float()
            return float((self.embed(images) - exact).norm() / exact.norm())

    def cache_file(self, folder: Path, dataset: Any, split: str) -> Path | None:
        """Path of the cached features of a data set; None for a data set without a fingerprint.

        The name is a hash of backbone weights, data and preprocessing (its output for a fixed ramp of grey
        values, which depends on mean, std and every other step), and of a precision other than float32.
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
    """Random views of uint8 images (N, C, H, W), normalised, on the preprocessor's device."""

    def __init__(self, augmentation: nn.Module, preprocessor: Any) -> None:
        self.augmentation, self.preprocessor = augmentation, preprocessor

    def __call__(self, images: Tensor) -> Tensor:
        """One view of each image."""
        images = self.preprocessor.cast_data(images)
        return self.preprocessor.normalize(self.augmentation(images))

    def __repr__(self) -> str:
        return repr(self.augmentation)
