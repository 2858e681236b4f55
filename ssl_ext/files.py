"""Atomic writes, and short names for paths."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import UserError


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` atomically when the block ends without an error.

    The file is written next to ``path``, fsynced and renamed. Missing folders are created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/a/b.txt") as file:
    ...         _ = file.write(b"whole")
    ...     Path(f"{folder}/a/b.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates the file with mode 0600; set the mode that open() would give.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def distinct_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Short names of paths: each without the leading and trailing parts that all of them share.

    Raises:
        UserError: A path occurs twice.

    >>> distinct_names(["runs/a/evaluation/results.json", "runs/b/evaluation/results.json"])
    ['a', 'b']
    """
    parts = [Path(path).resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError(f"The same path is given twice: {', '.join(map(str, paths))}.")
    if len(parts) == 1:
        return [parts[0][-1]]
    start = len(os.path.commonprefix(parts))
    ends = [path[start:][::-1] for path in parts]
    shared = len(os.path.commonprefix(ends))
    # A path that is a prefix of another is named by its last part.
    return ["/".join(end[shared:][::-1]) or path[start - 1] for end, path in zip(ends, parts, strict=True)]
