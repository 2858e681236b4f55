"""Checks of paths, atomic writes, and printable names of paths."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import UserError, did_you_mean


def shown(path: str | os.PathLike) -> str:
    r"""Convert a path or name to UTF-8 text; other bytes are escaped.

    >>> print(shown(os.fsdecode(b"caf\xe9.png")))
    caf\xe9.png
    """
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        data = str(path).encode(errors="backslashreplace")
    return data.decode(errors="backslashreplace")


def file_fault(path: str | os.PathLike) -> str | None:
    """Describe why a path cannot be opened as a file; None for a regular file.

    >>> file_fault("/dev/null"), file_fault("/"), file_fault("/none")
    ('is a pipe or a device, not a file', 'is a folder, not a file', 'does not exist')
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return (
            f"is a broken link to '{shown(Path(path).readlink())}'"
            if os.path.islink(path)
            else "does not exist"
        )
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError as error:
        return f"is not a path: {error}"
    if stat.S_ISREG(mode):
        return None
    return f"is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}, not a file"


def check_file(path: str | os.PathLike, what: str = "") -> Path:
    """Return the path of a regular file; ``~`` is the home folder.

    Raises:
        UserError: The path is not a regular file; ``what`` is its kind, for the message.
    """
    path = Path(path).expanduser()
    if fault := file_fault(path):
        raise UserError(f"{what} '{shown(path)}' {fault}{near_path(path) or '.'}".lstrip())
    return path


def near_path(path: str | os.PathLike) -> str:
    """End of a sentence with the name most similar to the first missing part of a path; may be empty."""
    whole = Path(path)
    missing = next((part for part in [*reversed(whole.parents), whole] if not os.path.lexists(part)), None)
    if missing is None or not missing.parent.is_dir():
        return ""
    return did_you_mean(shown(missing.name), sorted(map(shown, os.listdir(missing.parent))))


def check_writable(folder: str | os.PathLike, option: str, what: str = "Results") -> None:
    """Raise UserError unless files can be written to a folder; nothing is left behind."""
    folder = Path(folder)
    made: list[Path] = []
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{what} cannot be written to '{shown(folder)}' ({reason}): give another folder ({option})."
        ) from error
    finally:
        for path in made:
            with suppress(OSError, ValueError):
                path.rmdir()


@contextmanager
def replacing(path: str | os.PathLike, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` atomically when the block ends without an error.

    The file is written next to ``path``, fsynced and renamed. Missing folders are created. Without
    ``durable`` nothing is fsynced, which is much faster, but a power failure may leave an empty file.

    Raises:
        UserError: The system cannot write, for example because the disk is full; an older file is kept.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/a/b.txt") as file:
    ...         _ = file.write(b"whole")
    ...     Path(f"{folder}/a/b.txt").read_text()
    'whole'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _renamed(path, durable) as file:
            yield file
    except OSError as error:
        raise UserError(f"'{shown(path)}' could not be written: {error.strerror or error}.") from error


@contextmanager
def _renamed(path: Path, durable: bool) -> Iterator[IO[bytes]]:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # mkstemp creates the file with mode 0600; set the mode that open() would give.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: str | os.PathLike, text: str, *, durable: bool = True) -> None:
    """Write a text in UTF-8, atomically (:func:`replacing`); characters that UTF-8 cannot encode are escaped.

    Raises:
        UserError: The system cannot write.
    """
    with replacing(path, durable=durable) as file:
        file.write(text.encode(errors="backslashreplace"))


def distinct_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Short names of paths: each without the leading and trailing parts that all of them share.

    Raises:
        UserError: A path occurs twice.

    >>> distinct_names(["runs/a/evaluation/results.json", "runs/b/evaluation/results.json"])
    ['a', 'b']
    """
    parts = [Path(shown(Path(path).resolve())).parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError(f"The same path is given twice: {', '.join(map(shown, paths))}.")
    if len(parts) == 1:
        return [parts[0][-1]]
    start = len(os.path.commonprefix(parts))
    ends = [path[start:][::-1] for path in parts]
    shared = len(os.path.commonprefix(ends))
    # A path that is a prefix of another is named by its last part.
    return ["/".join(end[shared:][::-1]) or path[start - 1] for end, path in zip(ends, parts, strict=True)]
