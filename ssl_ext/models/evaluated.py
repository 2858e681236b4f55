"""A network in evaluation: from uint8 images to one feature vector per image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_ext.evaluation import (
    batches,
    cache_key,
    dataset_fingerprint,
    evaluation_mode,
    extract_features,
    weights_fingerprint,
)
from ssl_ext.evaluation.features import process_group

from .data_preprocessor import MultiViewPreprocessor
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


def first_view(preprocessor: nn.Module) -> AugmentedView | None:
    """Return the first view of pretraining; None for a preprocessor without batched views."""
    if not isinstance(preprocessor, MultiViewPreprocessor) or not len(preprocessor.views):
        return None
    return AugmentedView(preprocessor.views[0], preprocessor)


def view_features(
    network: EvaluatedModel, dataset: Any, *, images: int, views: int, seed: int, **loading: int
) -> Tensor | None:
    """Features (N, views, D) of random first views of a seeded sample of up to ``images`` images.

    None without a :func:`first_view`, or for less than two images. ``loading`` are arguments of
    :func:`ssl_ext.evaluation.batches`. Random states are restored on exit.
    """
    view = first_view(network.model.data_preprocessor)
    if view is None or len(dataset) < 2:
        return None
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:images].sort().values
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed + process_group()[0])
        drawn = [
            extract_features(
                lambda batch: network.features(view(batch)), dataset, rows=rows, model=network, **loading
            )[0]
            for _ in range(views)
        ]
    return torch.stack(drawn, dim=1)
