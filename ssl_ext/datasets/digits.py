"""Handwritten digits bundled with scikit-learn; no download needed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ssl_ext.datasets.array_dataset import ArrayDataset
from ssl_ext.datasets.files import check_split
from ssl_ext.datasets.grey import grey_images
from ssl_ext.errors import UserError
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
        images, labels = _read()
        chosen = _partition(labels, seed)[split]
        small = torch.as_tensor(images[chosen], dtype=torch.float32) * (255 / 16)
        super().__init__(
            grey_images(small, image_size=image_size, channels=channels, dataset="Digits"),
            labels[chosen],
            classes=[str(digit) for digit in range(10)],
            device=device,
            available_splits=SPLITS,
            split=split,
        )


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Read images (1797, 8, 8) in [0, 16] and labels (1797,) as ``sklearn.datasets.load_digits`` does.

    Reads scikit-learn's file where it is found: importing scikit-learn is slow.

    Raises:
        UserError: scikit-learn is not installed.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("Digits needs scikit-learn, whose images it reads: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        rows = np.loadtxt(path, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        rows = np.column_stack(load_digits(return_X_y=True))
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)


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
