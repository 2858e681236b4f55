"""Decoding of image files with Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

from ssl_ext.datasets.files import damaged_file
from ssl_ext.errors import sentence

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def read_image(path: str | Path, channels: int = 3) -> Image.Image:
    """Decode a file to an 8-bit PIL image, ``'RGB'`` for 3 channels and grey ``'L'`` for 1.

    16-bit grey is scaled from 0..65535 to 0..255.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, not an image, floating point, or grey values lie outside 16
            bits; the message names the file.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode.startswith("I"):
                image = _to_8_bit(image)
            elif image.mode == "F":
                raise ValueError("floating-point images have no known range")
            return image.convert("RGB" if channels == 3 else "L")
    except FileNotFoundError:
        raise
    except Exception as error:
        # Decoders raise many types on damaged files, and DecompressionBombError on oversized images.
        raise damaged_file(path, f"cannot be decoded as an image: {sentence(error)}") from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()} exceed 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
