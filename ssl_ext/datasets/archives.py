"""Downloads that are kept only with the right checksum, and archives that stay in their folder."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import utils

from ssl_ext.datasets.files import damaged_file

# Photographs hardly shrink at all and digits by a factor of five; a bomb shrinks by a thousand.
MAX_RATIO = 100


def download_url(url: str, root: str | os.PathLike, filename: str, md5: str | None) -> None:
    """Download a file to ``root/filename``, unless it is there with that checksum (None: any content).

    It is downloaded to a temporary folder first: an incomplete or wrong file replaces nothing.

    Raises:
        RuntimeError: Another checksum.
        OSError: The download failed.
    """
    path = Path(root) / filename
    if utils.check_integrity(path, md5):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        utils.download_url(url, folder, filename, md5)
        fetched = Path(folder) / filename
        if not utils.check_integrity(fetched, md5):
            raise RuntimeError(f"the MD5 of {filename} is {utils.calculate_md5(fetched)} instead of {md5}")
        os.replace(fetched, path)


def download_and_extract_archive(
    url: str, root: str | os.PathLike, *, md5: str | None, filename: str | None = None
) -> None:
    """Download an archive with :func:`download_url` and :func:`unpack` it into ``root``."""
    filename = filename or url.rpartition("/")[2]
    download_url(url, root, filename, md5)
    unpack(Path(root) / filename, Path(root))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ``.zip``, ``.tar.*``, ``.tgz`` or ``.gz`` file; its members are checked before anything is.

    Raises:
        ValueError: A member that would lie outside the folder, is a link or a device, or is a hundred times
            as large as the archive.
    """
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check_members(archive, ((e.filename, _plain(e), e.file_size) for e in entries))
            opened.extractall(folder)
    elif archive.suffix in (".tgz", ".tar") or archive.suffixes[-2:-1] == [".tar"]:
        with tarfile.open(archive) as opened:
            members = opened.getmembers()
            _check_members(archive, ((m.name, m.isfile() or m.isdir(), m.size) for m in members))
            # Permissions and owners of the archive are ignored, if this Python can ignore them.
            safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            opened.extractall(folder, members, **safely)
    else:
        _decompress(archive, folder / archive.stem)


def _plain(entry: zipfile.ZipInfo) -> bool:
    """Whether it is a file or a folder; Unix keeps the kind in the upper half of the attributes."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _check_members(archive: Path, members: Iterable[tuple[str, bool, int]]) -> None:
    total, limit = 0, MAX_RATIO * archive.stat().st_size
    for name, plain, size in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name:
            raise damaged_file(archive, f"{name!r} would lie outside the folder; nothing was unpacked")
        if not plain:
            raise damaged_file(archive, f"{name!r} is a link or a device; nothing was unpacked")
        total += size
        if total > limit:
            raise damaged_file(
                archive, f"unpacked it would be more than {MAX_RATIO} times as large; nothing was unpacked"
            )


def _decompress(archive: Path, target: Path) -> None:
    limit = MAX_RATIO * archive.stat().st_size
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
        whole = Path(folder) / target.name
        with gzip.open(archive) as source, open(whole, "wb") as file:
            while block := source.read(2**20):
                if file.tell() + len(block) > limit:
                    raise damaged_file(archive, f"unpacked it is more than {MAX_RATIO} times as large")
                file.write(block)
        os.replace(whole, target)
