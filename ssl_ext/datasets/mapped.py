"""Files of named arrays that are memory-mapped, so that processes share their pages."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_ext.datasets.files import damaged_file
from ssl_ext.files import replacing

MAGIC = b"ssl_ext arrays 1"
ALIGNMENT = 64
DIGEST = 32  # bytes
CHUNK = 1 << 24


class MappedArray(np.memmap):
    """Read-only array in a file; pickled by the name of its file, so that spawned processes map it too."""

    def __reduce__(self) -> Any:
        """Reduce the array of a file to its place in the file; views are pickled by value."""
        if isinstance(self.base, mmap.mmap):
            return map_array, (self.filename, self.dtype.str, self.shape, self.offset)
        return super().__reduce__()


def map_array(path: str | Path, dtype: str, shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
    """Map an array of a file for reading; an empty array is not mapped.

    Raises:
        ValueError: not a dtype of numbers: the bytes of a file must not become pointers to objects.
    """
    try:
        known = np.dtype(dtype).kind in "biuf"
    except (TypeError, ValueError, SyntaxError):
        known = False
    if not known:
        raise damaged_file(path, f"has an array of dtype {dtype!r}, not of numbers")
    if 0 in shape:
        return np.empty(shape, dtype)
    return MappedArray(path, dtype, "r", offset, shape)


def write_arrays(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and JSON-serialisable ``meta`` atomically, with a checksum.

    Raises:
        UserError: the system cannot write.
    """
    table, end = {}, 0
    for name, array in arrays.items():
        table[name] = [array.dtype.str, array.shape, end]
        end += array.nbytes + -array.nbytes % ALIGNMENT
    header = json.dumps({"meta": meta, "arrays": table}).encode()
    header += b" " * (-(len(MAGIC) + 8 + DIGEST + len(header)) % ALIGNMENT)
    parts: list[Any] = [len(header).to_bytes(8, "little"), header]
    for array in arrays.values():
        parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data]
        parts += [bytes(-array.nbytes % ALIGNMENT)]
    digest = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        digest.update(part)
    with replacing(path) as file:
        for part in (MAGIC, digest.digest(), *parts):
            file.write(part)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Map the arrays of a file of :func:`write_arrays` and return ``meta`` and arrays.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, changed since it was written, or with an array of other than numbers.
    """
    with open(path, "rb") as file:
        magic, stored, length = file.read(len(MAGIC)), file.read(DIGEST), file.read(8)
        digest = hashlib.blake2b(length, digest_size=DIGEST)
        header = file.read(min(int.from_bytes(length, "little"), os.fstat(file.fileno()).st_size))
        digest.update(header)
        start = file.tell()
        while part := file.read(CHUNK):
            digest.update(part)
    if magic != MAGIC or digest.digest() != stored:
        raise damaged_file(path, "does not match its checksum: it is truncated or was changed")
    about = json.loads(header)
    arrays = {
        name: map_array(path, dtype, tuple(shape), start + offset)
        for name, (dtype, shape, offset) in about["arrays"].items()
    }
    return about["meta"], arrays
