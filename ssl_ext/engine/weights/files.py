"""Weight files in several formats, read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_ext.errors import UserError

from .array_pickle import read_array_pickle
from .checkpoint import read_checkpoint


def read_weights(path: str | os.PathLike) -> Any:
    """Read ``.safetensors``, a ``.pkl`` of NumPy arrays (detectron2), or else a torch file.

    Raises:
        UserError: The file is missing or damaged, or would run code on loading.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pkl"):
        return read_checkpoint(path)
    if not path.is_file():
        raise UserError(f"Checkpoint '{path}' does not exist.")
    try:
        if suffix == ".safetensors":
            return load_file(path)
        with open(path, "rb") as file:
            return read_array_pickle(file.read())
    except UserError as error:
        raise UserError(f"Checkpoint '{path}' was rejected: {error}") from error
    except SafetensorError as error:
        raise UserError(f"Checkpoint '{path}' is not a readable safetensors file ({error}).") from error
    except Exception as error:
        # Bytes that are not a pickle can raise any error in the unpickler.
        raise UserError(f"Checkpoint '{path}' is damaged or not a pickle of arrays ({error}).") from error
