"""Handwritten digits bundled with scikit-learn; no download needed."""

import numpy as np
import torch

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split
from ssl_ext.datasets.grey import grey_images
from ssl_ext.registry import DATASETS

SPLITS = ("train", "val", "test")


@DATASETS.register_module()
class Digits(ArrayDataset):
    """1,797 handwritten digits of 8 × 8 pixels, enlarged bicubically; 10 classes.

    Each class is split 60/20/20 % into ``train``, ``val`` and ``test`` by the seed.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        image_size: height and width in pixels, at least 8.
        channels: 1, or 3 equal channels.
        seed: seed of the partition.
        device: see ArrayDataset.

    Raises:
        ValueError: unknown split, image size below 8, or ``channels`` not 1 or 3.

    Example:
        >>> data = Digits('val', image_size=16, channels=1)
        >>> data.images.shape[1:], data.num_classes
        (torch.Size([1, 16, 16]), 10)
    """

    def __init__(
        self,
        split: str,
        *,
        image_size: int = 32,
        channels: int = 3,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        check_split(split, SPLITS, "Digits")
        from sklearn.datasets import load_digits

        source = load_digits()
        chosen = _partition(source.target, seed)[split]
        small = torch.as_tensor(source.images[chosen], dtype=torch.float32) * (255 / 16)
        super().__init__(
            grey_images(small, image_size=image_size, channels=channels, dataset="Digits"),
            source.target[chosen],
            classes=[str(digit) for digit in range(10)],
            device=device,
            available_splits=SPLITS,
            split=split,
        )


def _partition(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Shuffle each class and cut it at 60 % and 80 %; return the sorted indices of each split."""
    generator = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cuts = [round(0.6 * len(members)), round(0.8 * len(members))]
        for split, part in zip(SPLITS, np.split(members, cuts), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(found)) for split, found in parts.items()}
