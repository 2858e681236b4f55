"""Downloads verified by checksum, and safe extraction of archives."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import utils

from ssl_ext.datasets.files import damaged_file, downloading, verify_files

# Largest accepted ratio of unpacked to packed size: images reach about 5, zip bombs 1000.
MAX_RATIO = 100


def download_url(url: str, root: str | os.PathLike, filename: str, md5: str | None) -> None:
    """Download a file to ``root/filename`` unless it exists with the given MD5.

    The download goes to a temporary folder first, so that an incomplete or wrong file replaces nothing.

    Args:
        url: address of the file.
        root: target folder, created if needed.
        filename: name of the file in ``root``.
        md5: expected checksum; None accepts any content.

    Raises:
        RuntimeError: the checksum differs.
        OSError: the download failed.
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


def require_file(entry: Sequence[str], root: Path, dataset: str, download: bool) -> None:
    """Verify the file of a set, (URL, name, MD5); download it first if ``download`` is True.

    Raises:
        FileNotFoundError: no file and ``download=False``.
        ConnectionError: the download failed.
        ValueError: the checksum differs.
    """
    url, filename, md5 = entry
    by_hand = f"put {url} into {os.path.abspath(root)}"
    if download:
        with downloading(root, dataset, url, by_hand):
            download_url(url, str(root), filename, md5)
    verify_files(root, [(filename, md5)], dataset, by_hand)


def download_and_extract_archive(
    url: str, root: str | os.PathLike, *, md5: str | None, filename: str | None = None
) -> None:
    """Download an archive with :func:`download_url` and :func:`unpack` it into ``root``.

    Errors are those of both functions; ``filename`` defaults to the last part of the URL.
    """
    filename = filename or url.rpartition("/")[2]
    download_url(url, root, filename, md5)
    unpack(Path(root) / filename, Path(root))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ``.zip``, ``.tar``, ``.tar.*``, ``.tgz`` or ``.gz`` file into ``folder``.

    All members of an archive are checked before any is written.

    Raises:
        ValueError: a member lies outside the folder, is a link or a device, or the content is more than
            100 times as large as the archive.
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
            # The 'data' filter (Python 3.12 and later patch releases) also ignores owners.
            safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            for member in members:
                member.mode = 0o755 if member.isdir() else 0o644
            opened.extractall(folder, members, **safely)
    else:
        _decompress(archive, folder / archive.stem)


def _plain(entry: zipfile.ZipInfo) -> bool:
    """Return True for files and folders; the upper 16 bits of the attributes hold the Unix file type."""
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
