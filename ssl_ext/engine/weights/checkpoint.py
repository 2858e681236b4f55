"""Checkpoint files: atomic writing, and reading that cannot run code."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ssl_ext.errors import UserError
from ssl_ext.files import check_file, file_fault, replacing, shown

from .stand_ins import ALLOWED, StandIn, check_nesting

HISTORY = ("values", "counts")
INTERRUPTED = "interrupted.pth"
NAMES = ("epoch_*.pth", "iter_*.pth", INTERRUPTED)
# File names of torch and OpenMMLab weights end in the first digits of their SHA-256; a date is not one.
HASH_IN_NAME = re.compile(r"-(?!20\d{6}\.)([0-9a-f]{8,})\.[^.]+$")


def write_checkpoint(checkpoint: dict, path: str | os.PathLike) -> None:
    """Write ``checkpoint`` with ``torch.save``, atomically.

    The log history of MMEngine's message hub is stored as tensors and plain numbers: its own class
    pickles bound methods, which need ``getattr`` and so a loader that can run code.

    Raises:
        UserError: The system cannot write, for example because the disk is full; an older file is kept.
    """
    hub = checkpoint.get("message_hub")
    if hub:
        info = {k: v.item() if isinstance(v, np.generic) else v for k, v in hub["runtime_info"].items()}
        packed = {**hub, "log_scalars": _pack(hub["log_scalars"]), "runtime_info": info}
        checkpoint = {**checkpoint, "message_hub": packed}
    try:
        with replacing(path) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch raises an error about its archive, whose context is the system's error.
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    except UserError as error:
        raise UserError(
            f"Checkpoint {error} Earlier checkpoints are intact; free disk space and resume with --resume."
        ) from error


def _pack(scalars: Mapping[str, HistoryBuffer]) -> dict[str, dict]:
    return {
        name: {key: torch.from_numpy(array.copy()) for key, array in zip(HISTORY, buffer.data, strict=True)}
        for name, buffer in scalars.items()
    }


def _unpack(scalars: Mapping[str, dict]) -> dict[str, HistoryBuffer]:
    return {
        name: HistoryBuffer(*(packed[key].cpu().numpy() for key in HISTORY))
        for name, packed in scalars.items()
        # MMEngine's own objects are not read.
        if not isinstance(packed, StandIn)
    }


def read_checkpoint(path: str | os.PathLike, map_location: Any = "cpu") -> Any:
    """Read a checkpoint of tensors and plain containers (``weights_only=True``).

    Harmless objects of other programs are replaced by inert ones: see :mod:`.stand_ins`.

    Raises:
        UserError: The file is missing or damaged, or would run code on loading.
    """
    path = check_file(path, "Checkpoint")
    try:
        check_nesting(path)
        with torch.serialization.safe_globals(ALLOWED):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except UserError as error:
        raise UserError(f"Checkpoint '{path}' was rejected: {error}.") from error
    except UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted:
            raise UserError(
                f"Checkpoint '{path}' was rejected: loading it would run {wanted.group(1)}, but only "
                "tensors and plain containers are read. Save it as a state_dict."
            ) from error
        # torch's message recommends disabling the check.
        raise UserError(f"Checkpoint '{path}' is damaged or not a torch file.") from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise UserError(
                f"Checkpoint '{path}' is a TorchScript archive, which contains code; save the state_dict "
                "of the module instead."
            ) from error
        # Bytes that are not a pickle can raise any error in the unpickler.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Checkpoint '{path}' is damaged or not a torch file ({reason}).") from error
    hub = checkpoint.get("message_hub") if isinstance(checkpoint, dict) else None
    if hub:
        hub["log_scalars"] = _unpack(hub["log_scalars"])
    return checkpoint


def stored_meta(path: str | os.PathLike) -> dict:
    """Read a checkpoint without its tensors; an empty dict if it cannot be read."""
    try:
        # torch cannot map files whose names are not UTF-8.
        mapped = shown(path) == str(check_file(path))
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception:
        # Bytes that are not a pickle can raise any error in the unpickler.
        return {}
    found = isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict)
    return checkpoint if found else {}


def stored_step(path: str | os.PathLike) -> tuple[int, int, int]:
    """Steps and epochs of a checkpoint (−1 if not recorded), and the file's modification time."""
    meta = stored_meta(path).get("meta", {})
    steps, epochs = (value if isinstance(value := meta.get(key), int) else -1 for key in ("iter", "epoch"))
    return steps, epochs, Path(path).stat().st_mtime_ns


def checkpoints_in(folder: str | os.PathLike) -> dict[Path, tuple[int, int, int]]:
    """Checkpoints of a work dir, including damaged ones, sorted by their :func:`stored_step`."""
    paths = (path for name in NAMES for path in Path(folder).glob(name) if not file_fault(path))
    steps = {path: stored_step(path) for path in paths}
    return dict(sorted(steps.items(), key=lambda item: item[1]))


def newest_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The complete checkpoint of the latest step in a work dir, or None; the folder may have been moved.

    Damaged files that may be newer are skipped, each with a warning.
    """
    newest = None
    for path, (step, *_) in reversed(checkpoints_in(folder).items()):
        if newest is not None and step >= 0:
            continue
        if not is_complete(path):
            warnings.warn(f"Checkpoint '{path}' is damaged and was skipped.", stacklevel=2)
        else:
            newest = newest or path
    return newest


def checkpoint_of(source: str | os.PathLike) -> Path:
    """The newest checkpoint of a work dir, or the path itself."""
    path = Path(source).expanduser()
    return (newest_checkpoint(path) if path.is_dir() else None) or path


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove temporary checkpoint files that a killed run has left in its work dir.

    Each is as large as a checkpoint, so a run that is often preempted could fill the disk.
    """
    for name in NAMES:
        for path in Path(folder).glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def is_complete(path: str | os.PathLike) -> bool:
    """True if a checkpoint file is complete: an archive whose members match their checksums."""
    if file_fault(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
        return False


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a file; MMEngine logs the function's name without its first ten letters."""
    return read_checkpoint(filename, map_location)


def load_from_http(filename: str, map_location: Any = None, **_: Any) -> Any:
    """Load a file of a URL, which is kept in the cache of ``torch.hub``."""
    name = Path(urlsplit(filename).path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        digest = HASH_IN_NAME.search(name)
        try:
            torch.hub.download_url_to_file(filename, str(cached), digest and digest[1])
        except (OSError, RuntimeError) as error:
            raise UserError(f"Checkpoint '{filename}' cannot be downloaded: {error}") from error
    return read_checkpoint(cached, map_location)


def _load_stream(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """Load a path or open file, for MMEngine's loaders of other backends (``s3://`` ...)."""
    if isinstance(file, (str, os.PathLike)):
        return read_checkpoint(file, map_location)
    with tempfile.NamedTemporaryFile(suffix=".pth") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        return read_checkpoint(copy.name, map_location)


# MMEngine's loaders fall back to unsafe unpickling when safe loading fails. Replacing them covers the Runner
# and `init_cfg=dict(type='Pretrained')` for local files, URLs, model names (`torchvision://` ...) and other
# backends.
CheckpointLoader.register_scheme("", load_from_local, force=True)
CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
mmengine_checkpoint.load_from_http = load_from_http
mmengine_checkpoint._safe_torch_load = _load_stream
