"""Concatenation of several data sets for pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.registry import DATASETS


@DATASETS.register_module()
class JoinedDataset(ArrayDataset):
    """Images of several in-memory sets, concatenated and unlabelled.

    Every label is −1, because the classes of the sets are unrelated. Shuffled batches mix the sets in
    proportion to their sizes.

    Args:
        datasets: configs of at least two data sets that hold their images in memory, such as
            ``MedMNIST``, ``NPZDataset`` and ``ImageFiles``, with the same channels and image size.
        device: device of the joined images, see ArrayDataset.

    Raises:
        ValueError: fewer than two sets, one that is not in memory, or images of different shapes.
    """

    def __init__(
        self, datasets: Sequence[dict[str, Any]], *, device: str | torch.device | None = None
    ) -> None:
        if len(datasets) < 2:
            raise ValueError(f"dataset.datasets must name at least two sets, got {len(datasets)}")
        parts = [DATASETS.build(dict(settings)) for settings in datasets]
        names = [f"datasets[{index}] ({type(part).__name__})" for index, part in enumerate(parts)]
        for name, part in zip(names, parts, strict=True):
            if not isinstance(part, ArrayDataset):
                raise ValueError(
                    f"dataset.{name} does not keep its images in memory, as required for joining"
                )
            if part.images.shape[1:] != parts[0].images.shape[1:]:
                raise ValueError(
                    f"dataset.{name} has images of {tuple(part.images.shape[1:])} pixels, those of "
                    f"{names[0]} have {tuple(parts[0].images.shape[1:])}: they must be equal"
                )
        super().__init__(torch.cat([part.images.cpu() for part in parts]), device=device)
        self.source_files = [file for part in parts for file in part.source_files]
