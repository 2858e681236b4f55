"""Hash, size and channel statistics of every stored image of a data set."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_ext.console import track
from ssl_ext.datasets.file_dataset import FileDataset

DIGEST = 16  # bytes


@dataclass(frozen=True)
class Contents:
    """Statistics of N images in data set order; unreadable images have an empty digest and NaN statistics.

    ``digests``: hashes of size and pixels; identical images have the same hash. ``sizes``: (height, width),
    (N, 2). ``means`` and ``squares``: mean pixel and mean squared pixel per channel (N, C), pixels in [0, 1].
    ``constant`` (N,): all pixels are equal. ``grey`` (N,): all channels are equal. ``unreadable``: error
    messages.
    """

    digests: list[bytes]
    sizes: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    constant: np.ndarray
    grey: np.ndarray
    unreadable: list[str]

    @property
    def mean(self) -> list[float]:
        """Mean of each channel, with the same weight for every image."""
        return np.nanmean(self.means, axis=0).tolist()

    @property
    def std(self) -> list[float]:
        """Standard deviation of each channel over all pixels, with the same weight for every image."""
        return np.sqrt(np.nanmean(self.squares, axis=0) - np.square(self.mean)).tolist()


def channel_statistics(dataset: Any, count: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, pixels in [0, 1], of ``count`` evenly spaced images.

    The images are those that a network sees, resized and cropped.
    """
    rows = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist()
    with torch.random.fork_rng(devices=[]):  # random crops
        images = [torch.as_tensor(dataset[row]["inputs"]).cpu().numpy() for row in rows]
    values = np.stack([*map(_moments, images)]).mean(0)
    mean, square = values[: len(values) // 2], values[len(values) // 2 :]
    return mean.tolist(), np.sqrt(np.clip(square - np.square(mean), 0, None)).tolist()


def image_contents(dataset: Any, *, num_workers: int = 0, words: str = "images") -> Contents:
    """Read every image; files are neither resized nor cropped, and other data sets give their samples.

    ``words`` name the progress on the console.
    """
    loader = DataLoader(_Summaries(dataset), batch_size=None, collate_fn=_same, num_workers=num_workers)
    digests, numbers, unreadable = [], [], []
    for digest, row in track(loader, words, len(dataset), "images"):
        digests.append(digest if isinstance(digest, bytes) else b"")
        numbers.append(row)
        if isinstance(digest, str):
            unreadable.append(digest)
    channels = max(0, max(map(len, numbers)) // 2 - 2)
    table = np.full((len(numbers), 2 * channels + 4), np.nan)
    for index, row in enumerate(numbers):
        table[index, : len(row)] = row
    return Contents(
        digests,
        table[:, :2],
        table[:, 4 : 4 + channels],
        table[:, 4 + channels :],
        table[:, 2] == 1,
        table[:, 3] == 1,
        unreadable,
    )


def _same(summary: Any) -> Any:
    return summary


class _Summaries(Dataset):
    """Data set of (digest or error message, [height, width, constant, grey, *means, *squares])."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[bytes | str, list[float]]:
        try:
            return _summary(self._pixels(index))
        except (FileNotFoundError, ValueError) as error:
            return str(error), []

    def _pixels(self, index: int) -> np.ndarray:
        images = getattr(self.dataset, "images", None)
        if isinstance(images, Tensor):
            return images[index].cpu().numpy()
        if isinstance(self.dataset, FileDataset):
            return self.dataset.pixels(index).numpy()
        return torch.as_tensor(self.dataset[index]["inputs"]).numpy()


def _summary(pixels: np.ndarray) -> tuple[bytes, list[float]]:
    """Return digest and statistics of a uint8 image (C, H, W)."""
    pixels = np.ascontiguousarray(pixels)
    digest = hashlib.blake2b(f"{pixels.shape}".encode() + pixels.tobytes(), digest_size=DIGEST).digest()
    flags = [pixels.min() == pixels.max(), bool((pixels == pixels[:1]).all())]
    return digest, [*pixels.shape[1:], *flags, *_moments(pixels).tolist()]


def _moments(pixels: np.ndarray) -> np.ndarray:
    """Mean and mean square of each channel of a uint8 image (C, H, W), (2 C,)."""
    values = pixels.reshape(len(pixels), -1) / 255
    return np.concatenate([values.mean(1), np.square(values).mean(1)])
