"""Finding image files, and decoding them with Pillow."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_ext.datasets.files import damaged_file, missing_file
from ssl_ext.errors import sentence

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def check_image_options(channels: int, image_size: int) -> None:
    """Raise ValueError unless ``channels`` is 1 or 3 and ``image_size`` is positive."""
    if channels not in (1, 3):
        raise ValueError(f"dataset.channels must be 1 or 3, got {channels}")
    if not image_size >= 1:
        raise ValueError(f"dataset.image_size must be positive, got {image_size}")


def image_folder(data_root: str | Path, dataset: str) -> Path:
    """Return ``data_root`` as a path; raise FileNotFoundError if it is no folder."""
    root = Path(data_root).expanduser()
    if not root.is_dir():
        by_hand = "give the folder of the images as data_root (config key: dataset.data_root)"
        raise missing_file(root, dataset, by_hand, can_download=False)
    return root


def walk_images(root: Path) -> Iterator[str]:
    """Yield the relative paths of all image files below a folder, without hidden ones, sorted by folder."""
    for current, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(current, root)
        for name in sorted(files):
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield os.path.normpath(os.path.join(inside, name))


def image_names(root: Path) -> list[str]:
    """Return the paths of :func:`walk_images` as a list.

    Raises:
        ValueError: there are none.
    """
    names = list(walk_images(root))
    if not names:
        raise damaged_file(root, f"holds no images ({', '.join(EXTENSIONS)})")
    return names


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
