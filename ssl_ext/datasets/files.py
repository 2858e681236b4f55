"""Access to data files: error messages, locks, and ``.npy`` and ``.npz`` reading without pickle."""

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from torchvision.datasets.utils import calculate_md5, check_integrity

from ssl_ext.errors import UserError, sentence
from ssl_ext.files import file_fault, replacing, shown

try:
    import fcntl
except ImportError:  # not a POSIX system: no locks between processes
    fcntl = None  # type: ignore[assignment]


def check_split(split: str | None, available: Sequence[str], dataset: str) -> str:
    """Return ``split``; raise a ValueError that lists ``available`` if it is not one of them."""
    if split is not None and split in available:
        return split
    message = f"{dataset} has no split {split!r}; available: {', '.join(map(repr, available))}"
    if split == "val":
        message += "; evaluation automatically holds out a seeded part of 'train'"
    raise ValueError(f"{message} (config key: dataset.split)")


def missing_file(
    path: str | Path, dataset: str, by_hand: str, *, can_download: bool = True
) -> FileNotFoundError:
    """Return the error for a missing path: the path, the download option and manual instructions."""
    reason = file_fault(path) if os.path.lexists(path) else None
    there = shown(os.path.abspath(path))
    message = f"{dataset}: {f'{there} {reason}' if reason else f'nothing found at {there}'}. "
    if can_download:
        message += (
            "Set download=True (config keys train_dataloader.dataset.download and "
            "evaluation_dataset.download) to fetch it, or by hand: "
        )
    return FileNotFoundError(message + by_hand)


def damaged_file(path: str | Path, reason: object) -> UserError:
    """Return the error (a ValueError) for a file with wrong or damaged content."""
    return UserError(f"{shown(os.path.abspath(path))}: {reason}")


def verify_files(folder: Path, files: Sequence[Sequence[str]], dataset: str, by_hand: str) -> None:
    """Verify that ``folder`` holds every (name, MD5) of ``files``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a checksum differs.
    """
    for name, md5 in files:
        if not (folder / name).is_file():
            raise missing_file(folder / name, dataset, by_hand)
        if not check_integrity(folder / name, md5):
            raise damaged_file(
                folder / name,
                f"the MD5 checksum differs from the official {md5}; the file is damaged: "
                "delete it and download it again",
            )


def data_files(dataset: Any) -> list[dict[str, Any]]:
    """Path, MD5 and ``official`` of the files that hold a data set's arrays.

    ``official`` is True if the MD5 is the published one, and None if none is published. The list is empty for
    a data set of image files.
    """
    found = []
    for path, md5 in getattr(dataset, "source_files", ()):
        present = file_md5(path)
        found.append({"path": str(path), "md5": present, "official": None if md5 is None else present == md5})
    return found


def file_md5(path: str | os.PathLike) -> str:
    """MD5 of a file, computed once for each size and time of change."""
    stat = os.stat(path)
    return _file_md5(os.fspath(path), stat.st_size, stat.st_mtime_ns)


@cache
def _file_md5(path: str, size: int, modified: int) -> str:
    del size, modified  # only part of the cache's key
    return calculate_md5(path)


@contextmanager
def downloading(folder: Path, dataset: str, url: str, by_hand: str) -> Iterator[None]:
    """Hold the folder's lock during a download; an error names the URL and manual instructions.

    Raises:
        ConnectionError: the body raised an OSError or a RuntimeError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            yield
        except (OSError, RuntimeError) as error:
            cause = str(error.__context__ or error).strip()
            raise ConnectionError(
                f"{dataset}: the download of {url} failed ({cause}). By hand: {by_hand}"
            ) from error


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Hold an exclusive lock on ``folder``, so that several ranks do not write the same file.

    ``name`` is the lock file in it. A file lock needs no process group and is released when its process
    ends. No lock on Windows.
    """
    if fcntl is None:
        yield
        return
    with open(folder / name, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def save_array(path: Path, array: np.ndarray) -> None:
    """Write ``array`` as ``.npy`` atomically."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Readers of headers and archives raise many types on damaged bytes.
        raise damaged_file(
            path,
            "cannot be read; it is truncated, damaged or holds Python objects "
            f"(only plain arrays are read, nothing is unpickled): {sentence(error)}",
        ) from error


def _check_size(file: IO[bytes]) -> None:
    """Read the array's header and raise a ValueError if the array exceeds the physical memory."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version < (2, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    size, memory = dtype.itemsize * math.prod(shape), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise ValueError(f"an array {shape} of {dtype} takes {size} bytes, but the memory has {memory}")


def load_array(path: Path) -> np.ndarray:
    """Read one ``.npy`` file; raise a ValueError if it is damaged or holds Python objects."""
    with _naming(path):
        with open(path, "rb") as file:
            _check_size(file)
        return np.load(path, allow_pickle=False)


def npz_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in a ``.npz`` file; raise a ValueError if it is damaged."""
    with _naming(path):
        if not zipfile.is_zipfile(path):
            raise ValueError("not a .npz archive")
        with np.load(path, allow_pickle=False) as archive:
            return tuple(archive.files)


def npz_array(path: Path, name: str) -> np.ndarray:
    """Read one array of a ``.npz`` file; raise a ValueError if it is damaged or holds Python objects."""
    with _naming(path), np.load(path, allow_pickle=False) as archive:
        with archive.zip.open(f"{name}.npy") as file:
            _check_size(file)
        return archive[name]
