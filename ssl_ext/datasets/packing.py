"""Images and their records as packed files hold them."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import resize

from ssl_ext.datasets.decode import Reading, decoding, orientation, read_image, upright, upright_size
from ssl_ext.datasets.dicom import is_dicom
from ssl_ext.datasets.file_dataset import BICUBIC, FileDataset, image_pixels
from ssl_ext.datasets.files import damaged_file
from ssl_ext.errors import UserError
from ssl_ext.files import file_fault

BATCH = 64
RECORD = np.dtype([("length", "<i8"), ("checksum", "<u4"), ("plain", "?"), ("size", "<i8"), ("time", "<i8")])


@dataclass(frozen=True)
class Form:
    """Size and format of stored images; see :func:`pack`."""

    size: int | None = None
    short_side: int | None = None
    quality: int = 95
    channels: int = 3

    def __post_init__(self) -> None:
        for name in ("size", "short_side"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
        if not 1 <= self.quality <= 100:
            raise UserError(f"--quality must lie between 1 and 100, got {self.quality}.")
        if self.channels not in (1, 3):
            raise UserError(f"--channels must be 1 or 3, got {self.channels}.")


def read_records(data: bytes) -> np.ndarray:
    """Complete records of a journal."""
    return np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)


def encoded_images(data: FileDataset, form: Form, start: int, workers: int) -> DataLoader:
    """Loader of (bytes of several images, their records)."""
    rows = [list(range(row, min(row + BATCH, len(data)))) for row in range(start, len(data), BATCH)]
    return DataLoader(_Encoded(data, form), batch_sampler=rows, collate_fn=_joined, num_workers=workers)


class _Encoded(Dataset):
    """Images as they are stored, with their records."""

    def __init__(self, data: FileDataset, form: Form) -> None:
        self.data, self.form = data, form

    def __getitem__(self, index: int) -> tuple[bytes, tuple]:
        path = self.data.files[index]
        if fault := file_fault(path):
            raise damaged_file(path, fault)
        stat = os.stat(path)
        if self.form.size:
            content, plain = self.data[index]["inputs"].numpy().tobytes(), False
        else:
            content, plain = _encode(path, self.form, self.data.reading)
        return content, (len(content), zlib.crc32(content), plain, stat.st_size, stat.st_mtime_ns)


def _joined(items: list[tuple[bytes, tuple]]) -> tuple[np.ndarray, np.ndarray]:
    content, records = zip(*items, strict=True)
    return np.frombuffer(b"".join(content), np.uint8), np.array(list(records), RECORD)


def _encode(path: str, form: Form, reading: Reading) -> tuple[bytes, bool]:
    """Content of a file, or a reduced JPEG of it, and whether it is an upright colour or grey JPEG.

    DICOM files are stored as 8-bit PNG, without their header.

    Raises:
        ValueError: It cannot be decoded.
    """
    if is_dicom(path):
        buffer = io.BytesIO()
        read_image(path, reading).save(buffer, "PNG")
        content = buffer.getvalue()
    else:
        content = Path(path).read_bytes()
    with decoding(path), Image.open(io.BytesIO(content)) as opened:
        plain = opened.format == "JPEG" and opened.mode in ("RGB", "L") and orientation(opened) == 1
        small = form.short_side is None or min(upright_size(opened)) <= form.short_side
        image = upright(opened, reading)
    if small:
        return content, plain
    pixels = resize(image_pixels(image), [form.short_side], BICUBIC).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if form.channels == 1 else pixels).save(
        buffer, "JPEG", quality=form.quality
    )
    return buffer.getvalue(), True
