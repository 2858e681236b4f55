"""Small copies of images, and the sheets (sprites) that hold them in a page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pad, resize

from ssl_ext.evaluation import batches

LARGEST, SMALLEST = 64, 16
"""Largest and smallest longer side of a thumbnail, in pixels."""
BUDGET = 12 << 20
"""Bytes of all sheets of a page; in its text they are a third longer (base64)."""
QUALITY = 85
BLOCK = 8  # pixels of a JPEG block: a cell of whole blocks does not blur into its neighbours
SHEET = 2048  # largest side of a sheet, so that phones can decode it


@dataclass(frozen=True)
class Sheets:
    """JPEG files with thumbnails in rows of ``columns`` square cells, ``per_sheet`` in each file.

    A thumbnail is the upper left ``width`` × ``height`` pixels of its cell.
    """

    files: list[bytes]
    width: int
    height: int
    cell: int
    columns: int
    per_sheet: int

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(map(len, self.files))


def read_thumbnails(dataset: Any, rows: Tensor, **loading: int) -> Tensor:
    """Images of a data set as RGB, at most ``LARGEST`` pixels wide and high: uint8 (N, 3, h, w).

    Of images with two channels the first is shown, of images with four the first three.
    """
    parts = []
    for batch in batches(dataset, rows, **loading):
        images = batch["inputs"].cpu()
        images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
        parts.append(shrink(images, LARGEST))
    return torch.cat(parts)


def shrink(images: Tensor, side: int) -> Tensor:
    """Resize images (N, C, H, W) so that the longer side is at most ``side``."""
    height, width = images.shape[2:]
    if (scale := side / max(height, width)) >= 1:
        return images
    return resize(images, [max(1, round(scale * height)), max(1, round(scale * width))], antialias=True)


def make_sheets(images: Tensor, budget: int = BUDGET) -> Sheets:
    """Encode thumbnails (N, 3, h, w), shrunk to keep within ``budget`` bytes, but not below ``SMALLEST``."""
    side = max(images.shape[2:])
    while True:
        sheets = _encode(shrink(images, side))
        if sheets.bytes <= budget or side <= SMALLEST:
            return sheets
        side = max(SMALLEST, min(side - 1, int(0.97 * side * (budget / sheets.bytes) ** 0.5)))


def _encode(images: Tensor) -> Sheets:
    height, width = images.shape[2:]
    cell = -(-max(height, width) // BLOCK) * BLOCK
    columns = min(SHEET // cell, int(np.ceil(len(images) ** 0.5)))
    per_sheet = columns * columns
    cells = pad(images, [0, 0, cell - width, cell - height], padding_mode="edge")
    files = [_jpeg(sheet) for sheet in _tiled(cells, columns, per_sheet)]
    return Sheets(files, width, height, cell, columns, per_sheet)


def _tiled(cells: Tensor, columns: int, per_sheet: int) -> Iterator[np.ndarray]:
    for part in cells.split(per_sheet):
        lines = -(-len(part) // columns)
        full = part.new_zeros(lines * columns, *part.shape[1:])
        full[: len(part)] = part
        channels, side = full.shape[1:3]
        grid = full.reshape(lines, columns, channels, side, side).permute(0, 3, 1, 4, 2)
        yield grid.reshape(lines * side, columns * side, channels).numpy()


def _jpeg(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return content.getvalue()
