"""Decoding image files: with Pillow, and DICOM files with pydicom."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import ExifTags, Image

from ssl_ext.datasets.dicom import dicom_size, is_dicom, need_pydicom, read_dicom
from ssl_ext.datasets.files import damaged_file
from ssl_ext.datasets.intensity import DARK, Grey, Intensity, check_intensity
from ssl_ext.errors import sentence
from ssl_ext.files import file_fault, shown

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


SAMPLE = 8  # files whose grey values are checked


@dataclass(frozen=True)
class Reading:
    """Options of converting image files to 8-bit images.

    Args:
        channels: 3 for RGB, 1 for grey.
        intensity: grey values of 16 bits or of DICOM files that become 0 and 255: see FileDataset.
        frame: frame of a DICOM file, counted from 0, or ``'middle'``.

    Raises:
        ValueError: option out of range.
    """

    channels: int = 3
    intensity: Intensity = "window"
    frame: int | str = "middle"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"dataset.channels must be 1 or 3, got {self.channels}")
        object.__setattr__(self, "intensity", check_intensity(self.intensity))
        if self.frame != "middle" and not (isinstance(self.frame, int) and self.frame >= 0):
            raise ValueError(f"dataset.frame must be 'middle' or 0 and above, got {self.frame!r}")


COLOUR = Reading()


def check_image_size(image_size: int) -> None:
    """Raise ValueError unless it is positive."""
    if not image_size >= 1:
        raise ValueError(f"dataset.image_size must be positive, got {image_size}")


def read_image(path: str | Path, reading: Reading = COLOUR) -> Image.Image:
    """Decode a file to an upright 8-bit PIL image, ``'RGB'`` for 3 channels and grey ``'L'`` for 1.

    32-bit grey up to 255 in TIFF files is not scaled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a file, damaged, not an image, a DICOM file that cannot be read, or grey values
            have no known range or lie outside 16 bits; the message names the file.
    """
    with decoding(path):
        if is_dicom(path):
            return _eight_bit(_dicom(path, reading), reading)
        with open_image(path) as opened:
            return upright(opened, reading)


def _dicom(path: str | Path, reading: Reading) -> Grey | np.ndarray:
    if fault := _fault(path):
        raise ValueError(fault)
    return read_dicom(path, reading.frame)


def _eight_bit(pixels: Grey | np.ndarray, reading: Reading) -> Image.Image:
    eight = pixels.to_8_bit(reading.intensity) if isinstance(pixels, Grey) else pixels
    return Image.fromarray(eight).convert("RGB" if reading.channels == 3 else "L")


def is_image(path: str) -> bool:
    """True for a path with the suffix of an image, and for DICOM files.

    Raises:
        UserError: a DICOM file, and pydicom is not installed.
    """
    if path.lower().endswith(EXTENSIONS):
        return True
    if found := is_dicom(path):
        need_pydicom(path)
    return found


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


def upright(opened: Image.Image, reading: Reading) -> Image.Image:
    """Decode an opened image as :func:`read_image`."""
    # Pillow applies the orientation of TIFF files itself.
    turn = None if opened.format == "TIFF" else UPRIGHT.get(orientation(opened))
    opened.load()
    grey = _grey(opened)
    channels = "RGB" if reading.channels == 3 else "L"
    image = opened.convert(channels) if grey is None else _eight_bit(grey, reading)
    return image if turn is None else image.transpose(turn)


def _grey(opened: Image.Image) -> Grey | None:
    """Grey values of more than 8 bits; None for other images."""
    if opened.mode == "F":
        return Grey(np.asarray(opened), None)
    if not opened.mode.startswith("I"):
        return None
    values = np.asarray(opened).astype(np.int64)
    small = opened.format == "TIFF" and opened.mode == "I" and values.min() >= 0 and values.max() <= 255
    return Grey(values, (0, 255), 8) if small else Grey(values, (0, 65535))


def _fault(path: str | Path) -> str | None:
    """Fault of a path that is not a file; raise FileNotFoundError if there is nothing."""
    fault = file_fault(path)
    if fault and not os.path.lexists(path):
        raise FileNotFoundError(f"'{path}' {fault}")
    return fault


def open_image(path: str | Path) -> Image.Image:
    """Open an image without decoding it; raise ValueError for a pipe or device, on which Pillow hangs."""
    if fault := _fault(path):
        raise ValueError(fault)
    return Image.open(path)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a file's image as :func:`read_image` returns it, from its header."""
    if is_dicom(path):
        if fault := _fault(path):
            raise ValueError(fault)
        return dicom_size(path)
    with open_image(path) as image:
        return upright_size(image)


def warn_of_dark(files: Sequence[str], reading: Reading) -> None:
    """Warn once if some of the files use only a small part of the range of 16 bits."""
    low, high, first = 1.0, 0.0, ""
    for row in np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int):
        path = files[row]
        try:
            if is_dicom(path):
                pixels: Grey | np.ndarray | None = _dicom(path, reading)
            else:
                with open_image(path) as opened:
                    # 8-bit images are not decoded.
                    pixels = _grey(opened) if opened.mode.startswith("I") else None
        except Exception:
            # Damaged files are reported when they are read.
            continue
        if isinstance(pixels, Grey) and (used := pixels.used(reading.intensity)):
            low, high, first = min(low, used[0]), max(high, used[1]), first or path
    if first and high - low < DARK:
        _warn_of_dark(shown(os.path.dirname(first)), f"{max(high - low, 0):.1%}")


@cache
def _warn_of_dark(folder: str, part: str) -> None:
    print_log(
        f"'{folder}': the grey values use {part} of the 16-bit range, so the images are nearly black: 12 "
        "bits may be stored in 16. Set intensity='percentile', 'minmax' or (low, high) (config key: "
        "dataset.intensity).",
        logger="current",
        level=logging.WARNING,
    )


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
