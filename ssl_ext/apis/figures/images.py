"""Images and class names that several figures read from a data set."""

from __future__ import annotations

from typing import Any

import torch

from ssl_ext.evaluation import batches


def class_names(dataset: Any) -> list[str]:
    """Names of a data set's classes, or their numbers."""
    return list(dataset.classes or [str(index) for index in range(dataset.num_classes)])


def chosen_images(dataset: Any, count: int, seed: int) -> torch.Tensor:
    """Seeded choice of images, uint8 (count, C, H, W) on the CPU."""
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
    return next(batches(dataset, rows, batch_size=count))["inputs"].cpu()
