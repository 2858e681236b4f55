"""Weight files in several formats, read without running code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_ext.errors import UserError
from ssl_ext.evaluation import file_hash, text_hash
from ssl_ext.files import check_file, shown
from ssl_ext.json_files import read_json

from .array_pickle import read_array_pickle
from .checkpoint import checkpoint_of, read_checkpoint

INDEX = ".index.json"
RUN_INFO = "run.json"
"""File of a work dir with the command, seed and versions of its run."""
# Patterns of weight files in a folder, in order of preference.
IN_FOLDER = ("*.safetensors.index.json", "*.safetensors", "*.bin.index.json", "*.bin", "*.pth", "*.pt")


def read_weights(path: str | os.PathLike) -> Any:
    """Read ``.safetensors``, a ``.pkl`` of NumPy arrays (detectron2), or else a torch file.

    The index of several files (``model.safetensors.index.json``) or a folder gives all their tensors.

    Raises:
        UserError: A file is missing or damaged, or would run code on loading.
    """
    files = weight_files(path)
    if len(files) == 1:
        return _read(files[0])
    tensors: dict[str, Any] = {}
    for file in files:
        content = _read(file)
        if not isinstance(content, dict) or tensors.keys() & content.keys():
            raise UserError(f"'{shown(file)}' does not fit the other weight files of '{shown(path)}'.")
        tensors |= content
    return tensors


def weight_files(path: str | os.PathLike) -> list[Path]:
    """Return the weight files of a path: itself, the newest checkpoint of a work dir, or those of an index.

    Raises:
        UserError: There is no file, or an index lists a file outside its folder.
    """
    path = checkpoint_of(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.name.endswith(INDEX):
        return [check_file(path, "Checkpoint")]
    index = read_json(path, {"weight_map": dict[str, str]}, "an index of weight files")
    names = sorted(set(index.get("weight_map", {}).values()))
    if not names or any(Path(name).name != name for name in names):
        raise UserError(f"'{shown(path)}' does not list files in its folder.")
    return [check_file(path.parent / name, "Checkpoint") for name in names]


def weights_hash(path: str | os.PathLike) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a weight file, or of the hashes of several."""
    hashes = [file_hash(file) for file in weight_files(path)]
    return hashes[0] if len(hashes) == 1 else text_hash(" ".join(hashes))


def _in_folder(folder: Path) -> Path:
    for pattern in IN_FOLDER:
        found: Sequence[Path] = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(shown(path.name) for path in found[:6])
            raise UserError(f"'{shown(folder)}' has several weight files: give one of {names}.")
    if (info := folder / RUN_INFO).is_file():
        about = read_json(info, {"checkpoints": str}, "the record of a run")
        raise UserError(
            f"The training in '{shown(folder)}' has not saved a checkpoint yet; it saves one "
            f"{about.get('checkpoints', 'regularly')} and when it is interrupted."
        )
    raise UserError(f"'{shown(folder)}' is a folder without weight files ({', '.join(IN_FOLDER)}).")


def _read(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pkl"):
        return read_checkpoint(path)
    try:
        return load_file(path) if suffix == ".safetensors" else read_array_pickle(path.read_bytes())
    except UserError as error:
        raise UserError(f"Checkpoint '{shown(path)}' was rejected: {error}") from error
    except SafetensorError as error:
        raise UserError(
            f"Checkpoint '{shown(path)}' is not a readable safetensors file ({error})."
        ) from error
    except Exception as error:
        # Bytes that are not a pickle can raise any error in the unpickler.
        raise UserError(
            f"Checkpoint '{shown(path)}' is damaged or not a pickle of arrays ({error})."
        ) from error
