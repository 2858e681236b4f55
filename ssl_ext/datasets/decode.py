"""Decoding image files with Pillow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from ssl_ext.datasets.files import damaged_file
from ssl_ext.errors import sentence
from ssl_ext.files import file_fault

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

# Operation that turns an image upright, by its EXIF orientation; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def check_image_options(channels: int, image_size: int) -> None:
    """Raise ValueError unless ``channels`` is 1 or 3 and ``image_size`` is positive."""
    if channels not in (1, 3):
        raise ValueError(f"dataset.channels must be 1 or 3, got {channels}")
    if not image_size >= 1:
        raise ValueError(f"dataset.image_size must be positive, got {image_size}")


def read_image(path: str | Path, channels: int = 3) -> Image.Image:
    """Decode a file to an upright 8-bit PIL image, ``'RGB'`` for 3 channels and grey ``'L'`` for 1.

    16-bit grey is scaled from 0..65535 to 0..255; 32-bit grey up to 255 is not scaled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a file, damaged, not an image, floating point, or grey values lie outside 16
            bits; the message names the file.
    """
    with decoding(path), open_image(path) as opened:
        return upright(opened, channels)


@contextmanager
def decoding(path: str | Path) -> Iterator[None]:
    """Name the file in errors of decoders."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        # Decoders raise many types on damaged files, and DecompressionBombError on oversized images.
        raise damaged_file(path, f"cannot be decoded as an image: {sentence(error)}") from error


def upright(opened: Image.Image, channels: int) -> Image.Image:
    """Decode an opened image as :func:`read_image`."""
    # Pillow applies the orientation of TIFF files itself.
    turn = None if opened.format == "TIFF" else UPRIGHT.get(orientation(opened))
    opened.load()
    image: Image.Image = opened
    if image.mode.startswith("I"):
        image = _to_8_bit(image, scaled=opened.format != "TIFF" or image.mode != "I")
    elif image.mode == "F":
        raise ValueError("floating-point images have no known range")
    image = image.convert("RGB" if channels == 3 else "L")
    return image if turn is None else image.transpose(turn)


def open_image(path: str | Path) -> Image.Image:
    """Open an image without decoding it; raise ValueError for a pipe or device, on which Pillow hangs."""
    if fault := file_fault(path):
        if not os.path.lexists(path):
            raise FileNotFoundError(f"'{path}' {fault}")
        raise ValueError(fault)
    return Image.open(path)


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width of an opened image as :func:`read_image` returns it."""
    width, height = image.size
    if image.format == "TIFF":
        # Some versions of Pillow report the upright size.
        width, height = (image.tag_v2[key] for key in (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength))
    return (width, height) if orientation(image) > 4 else (height, width)


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an opened image; 1 is upright."""
    # For a PNG whose header has no EXIF data Pillow would decode the whole image.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged EXIF data, on which Pillow raises many types, do not make the image unreadable.
        return 1


def _to_8_bit(image: Image.Image, *, scaled: bool) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if not scaled and values.min() >= 0 and values.max() <= 255:
        return Image.fromarray(values.astype(np.uint8))
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()} exceed 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
