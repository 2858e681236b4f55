"""Image files packed in one file per split, which worker processes map."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from ssl_ext.datasets.array_dataset import DeviceBatch, on_available
from ssl_ext.datasets.decode import decoding, upright
from ssl_ext.datasets.file_dataset import FileDataset, image_pixels
from ssl_ext.datasets.files import check_split, damaged_file, missing_file
from ssl_ext.datasets.mapped import map_array, read_arrays
from ssl_ext.datasets.paths import Paths
from ssl_ext.files import shown
from ssl_ext.registry import DATASETS

BY_HAND = "pack a folder or the files of a config: ssl-ext pack SOURCE {}"
AGAIN = "pack it again (ssl-ext pack)"


@DATASETS.register_module()
class PackedDataset(FileDataset):
    """Images packed by ``ssl-ext pack``, with their labels, classes, groups and splits.

    Equals the packed data set: arrays of S × S pixels at ``image_size`` S exactly, unchanged files at any
    ``image_size``. Other packs behave like a folder of the stored images. Opening checks the size of the
    images' file and the checksum of its index; every JPEG or other file is checked against its checksum when
    it is read, arrays only by ``ssl-ext pack --check``.

    Args:
        split: name of a packed split; None: ``'train'``.
        data_root: the folder of the pack.
        download: must be False.
        device: ``'cuda'`` decodes and cuts the JPEG files of a batch on the GPU, which needs
            ``num_workers=0``. Pixels differ from those of the CPU by some grey levels.
        **kwargs: ``image_size``, ``crop``, ``scale``, ``channels``, ``intensity``: see FileDataset.

    Raises:
        FileNotFoundError: no pack in the folder.
        ValueError: half-written, truncated or changed pack, unknown split, an image size above that of the
            stored images, other channels than those of packed arrays, or an absent device.
    """

    def __init__(
        self,
        split: str | None = None,
        data_root: str = "data/packed",
        *,
        download: bool = False,
        device: str | torch.device = "cpu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if download:
            raise ValueError(f"dataset.download=True: {data_root} is a local folder and cannot be downloaded")
        root = Path(data_root).expanduser()
        available = packed_splits(root)
        split = split or "train"
        index = index_file(root, split)
        if split not in available and partial_file(root, split).exists():
            raise damaged_file(root, f"the split {split!r} is half-written: repeat ssl-ext pack to finish it")
        if not available:
            raise missing_file(root, "PackedDataset", BY_HAND.format(shown(root)), can_download=False)
        check_split(split, available, f"PackedDataset {shown(root)}")
        meta, arrays = read_arrays(index)
        self.ends, self.checksums, self.plain = arrays["ends"], arrays["checksums"], arrays["plain"]
        self.stored = self._map(images_file(root, split), meta)
        self.device = on_available(device)
        self.set_files(
            Paths(arrays["names"], arrays["name ends"]),
            np.array(arrays["labels"]),
            classes=meta["classes"],
            split=split,
            available_splits=available,
        )
        self.task = self.metainfo["task"] = meta["task"]
        if "group ends" in arrays:
            self.groups = np.array(list(Paths(arrays["groups"], arrays["group ends"])))
        self.content = meta["content"]
        self.source_files = [(index, None)]

    def _map(self, path: Path, meta: dict[str, Any]) -> np.ndarray:
        """Map the images: (N, C, S, S) for arrays, else all bytes."""
        size = path.stat().st_size if path.is_file() else 0
        if size != self.ends[-1]:
            raise damaged_file(path, f"has {size} bytes instead of {self.ends[-1]}: {AGAIN}")
        stored, side, channels = meta["arrays"], meta["side"], meta["channels"]
        if side and self.image_size > side:
            raise ValueError(
                f"dataset.image_size={self.image_size} is above the {side} px of the images packed in "
                f"{shown(path.parent)}: lower it, or pack them again in this size"
            )
        if stored and channels != self.channels:
            raise ValueError(
                f"dataset.channels={self.channels}, but {shown(path.parent)} holds arrays of {channels}"
            )
        shape = (len(self.ends), channels, side, side) if stored else (size,)
        return map_array(path, "|u1", shape)

    def data(self, index: int) -> np.ndarray:
        """Return the bytes of a packed file, checked."""
        index = range(len(self))[index]
        data = self.stored[self.ends[index - 1] if index else 0 : self.ends[index]]
        if zlib.crc32(data.data) != self.checksums[index]:
            raise damaged_file(self.source_files[0][0], f"image {index} does not match its checksum: {AGAIN}")
        return np.array(data)

    def pixels(self, index: int) -> Tensor:
        """Decode a whole packed image, uint8 (C, H, W)."""
        return self._decoded([index])[0].cpu()

    def _decoded(self, rows: Sequence[int]) -> list[Tensor]:
        if self.stored.ndim == 4:
            return [torch.from_numpy(np.array(self.stored[row])).to(self.device) for row in rows]
        data = [self.data(row) for row in rows]
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        # Grey from colour differs between JPEG decoders and Pillow.
        fast = [place for place, row in enumerate(rows) if self.plain[row] and self.channels == 3]
        for place in set(range(len(rows))) - set(fast):
            name = self.files[rows[place]]
            with decoding(name), Image.open(io.BytesIO(data[place].data)) as opened:
                found[place] = image_pixels(upright(opened, self.reading)).to(self.device)
        if fast:
            with decoding(self.files[rows[fast[0]]]):
                jpegs = [torch.from_numpy(data[place]) for place in fast]
                images = decode_jpeg(jpegs, ImageReadMode.RGB, device=self.device)
            for place, image in zip(fast, images, strict=True):
                found[place] = image
        return found

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch: inputs (B, C, image_size, image_size) uint8, labels (B,), indices (B,)."""
        size = self.image_size
        images = torch.empty(len(rows), self.channels, size, size, dtype=torch.uint8, device=self.device)
        for place, row, pixels in zip(images, rows, self._decoded(rows), strict=True):
            place.copy_(self.cut(pixels, row))
        index = torch.tensor(rows) % len(self)
        batch = dict(inputs=images, labels=self.labels[index], indices=index)
        if images.is_cpu:
            return batch
        return DeviceBatch({name: value.to(self.device) for name, value in batch.items()})


def index_file(root: Path, split: str) -> Path:
    """Path of a split's index, which is written last."""
    return root / f"{split}.index"


def images_file(root: Path, split: str) -> Path:
    """Path of a split's images."""
    return root / f"{split}.images"


def partial_file(root: Path, split: str) -> Path:
    """Path of the records of a split that is being packed."""
    return root / f"{split}.partial"


def packed_splits(root: Path) -> tuple[str, ...]:
    """Names of the splits that are packed completely."""
    return tuple(sorted(path.stem for path in root.glob("*.index")))


def check_pack(root: Path) -> dict[str, int]:
    """Compare all images of a pack with their checksums; return the number of images of each split.

    Raises:
        FileNotFoundError: no pack.
        ValueError: an image or an index was changed.
    """
    counts = {}
    for split in packed_splits(root) or ("train",):
        meta = read_arrays(index_file(root, split))[0] if packed_splits(root) else {}
        data = PackedDataset(split, str(root), image_size=1, channels=meta.get("channels", 3))
        flat, start = data.stored.reshape(-1), 0
        for row, (end, checksum) in enumerate(zip(data.ends.tolist(), data.checksums.tolist(), strict=True)):
            if zlib.crc32(flat[start:end].data) != checksum:
                raise damaged_file(
                    images_file(root, split), f"image {row} does not match its checksum: {AGAIN}"
                )
            start = end
        counts[split] = len(data)
    return counts
