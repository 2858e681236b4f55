"""Files of weights in any of the formats they come in; none of them can run code on being read."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_ext.errors import UserError

from .checkpoint import read_checkpoint


def read_weights(path: str | os.PathLike) -> Any:
    """What a file holds: ``.safetensors``, a ``.pkl`` of numpy arrays (detectron2), else a torch file.

    Raises:
        UserError: The file is missing, damaged, or asks to run code on loading.
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
            return _tensors(_ArrayUnpickler(file, encoding="latin1").load())
    except UserError as error:
        raise UserError(f"Checkpoint '{path}' was refused: {error}") from error
    except SafetensorError as error:
        raise UserError(f"Checkpoint '{path}' is not a readable safetensors file ({error}).") from error
    except Exception as error:
        # Bytes that are no pickle can fail anywhere in the unpickler.
        raise UserError(f"Checkpoint '{path}' is damaged or not a pickle of arrays ({error}).") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Reads plain containers and numpy arrays; any other class or function is refused."""

    # NumPy moved these functions between versions: a file may name the old place.
    ALLOWED = {
        **{
            (f"numpy.{core}.{module}", function.__name__): function
            for core in ("core", "_core")
            for module, function in (
                ("multiarray", np.zeros(1).__reduce__()[0]),
                ("multiarray", np.float32(0).__reduce__()[0]),
                ("numeric", np.zeros(1).__reduce_ex__(5)[0]),
            )
        },
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin_bytes
        if (module, name) not in self.ALLOWED:
            raise UserError(
                f"loading it would run {module}.{name}, and only arrays and plain containers are read. "
                "Re-save it as a state_dict."
            )
        return self.ALLOWED[module, name]


def _latin_bytes(text: str, encoding: str) -> bytes:
    # How protocol 2 writes bytes.
    if encoding != "latin1":
        raise UserError(f"it holds bytes in the encoding {encoding!r}.")
    return text.encode("latin1")


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(value.copy())
    return value
