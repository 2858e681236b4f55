"""The image files below a folder, and an index of them that later processes map instead of listing again."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from ssl_ext.datasets.decode import EXTENSIONS, is_image
from ssl_ext.datasets.files import damaged_file, locked, missing_file
from ssl_ext.datasets.mapped import read_arrays, write_arrays
from ssl_ext.datasets.paths import Paths
from ssl_ext.errors import UserError
from ssl_ext.files import file_fault, shown

INDEXED_FROM = 10_000  # images; smaller folders are listed in every process
SETTLED = 2 * 10**9  # ns: file systems store times of change in steps of up to two seconds


@dataclass
class Folder:
    """A folder below the root, its inode and time of change, its images, and folders of linked images."""

    name: str
    change: tuple[int, int]
    images: list[str] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Listing:
    """Images in order of :func:`walk`; names of their folders, and the number of images in each."""

    files: Paths
    folders: Paths
    counts: np.ndarray


def image_folder(data_root: str | Path, dataset: str) -> Path:
    """Return ``data_root`` as a path; raise FileNotFoundError if it is not a folder."""
    root = Path(data_root).expanduser()
    if not root.is_dir():
        by_hand = "give the folder of the images as data_root (config key: dataset.data_root)"
        raise missing_file(root, dataset, by_hand, can_download=False)
    return root


def walk(root: Path, inside: str = "", above: tuple[str, ...] = ()) -> Iterator[Folder]:
    """Yield all folders below a folder with their images, without hidden ones, sorted by folder.

    Links are followed, except to a folder that holds them.

    Raises:
        ValueError: a link is broken, a path with the name of an image is not a file, or there are DICOM files
            and no pydicom.
    """
    here = os.path.realpath(root / inside)
    if here in above:
        return
    # Taken before the listing, so that a later change is seen.
    found, folders = Folder(inside, _change(root, inside)), []
    with os.scandir(root / inside) as entries:
        # For other entries than links the type is known without a system call.
        for entry in entries:
            if entry.name.startswith("."):
                continue
            link = entry.is_symlink()
            if os.path.isdir(entry.path) if link else entry.is_dir():
                folders.append(entry.name)
            elif link and not os.path.exists(entry.path):
                raise damaged_file(entry.path, f"{file_fault(entry.path)}; correct or remove it")
            elif is_image(entry.path):
                if not (os.path.isfile(entry.path) if link else entry.is_file()):
                    raise damaged_file(entry.path, file_fault(entry.path))
                found.images.append(entry.name)
                if link:
                    found.targets.update(_targets(entry.path))
    found.images.sort()
    yield found
    for name in sorted(folders):
        yield from walk(root, os.path.join(inside, name), (*above, here))


def _targets(path: str) -> Iterator[str]:
    """Folders of the files that a link leads to."""
    while os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
        yield os.path.dirname(path)


def holds_images(root: Path) -> bool:
    """Return True if there is an image below a folder."""
    with os.scandir(root) as entries:
        if any(e.is_file() and e.name[0] != "." and is_image(e.path) for e in entries):
            return True
    return any(folder.images for folder in walk(root))


def image_names(root: Path) -> list[str]:
    """Return the paths of the images of :func:`walk`, relative to ``root``.

    Raises:
        ValueError: there are none.
    """
    names = [os.path.join(folder.name, image) for folder in walk(root) for image in folder.images]
    return names or _none(root)


def _none(root: Path) -> list[str]:
    raise damaged_file(root, f"holds no images ({', '.join(EXTENSIONS)} or DICOM)")


def list_images(root: Path) -> Listing:
    """List the images below a folder, or map the index that an earlier listing wrote.

    The first process lists a large folder and writes an index into ``~/.cache/ssl_ext`` (or
    ``$XDG_CACHE_HOME/ssl_ext``); others wait for it and map it. An index is used only if no folder has
    changed since: inode and time of change (ctime) of each folder, and of each folder that links of images
    lead to, are those before the listing. Adding, removing or renaming a file changes them, and no program
    can set them. Folders that changed less than two seconds before the listing are not indexed.

    Raises:
        ValueError: there are no images, a link is broken, or an image is not a file.
    """
    with ExitStack() as held:
        path = _index_path(root)
        if path is not None:
            lock = path.with_suffix(".lock")
            with suppress(OSError):  # without locks each process lists
                held.enter_context(locked(path.parent, lock.name))
                held.callback(lock.unlink, missing_ok=True)
            if (found := _read_index(path, root)) is not None:
                return found
        return _scan(root, path)


def _index_path(root: Path) -> Path | None:
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssl_ext"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder / f"{hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]}.index"


def _scan(root: Path, index: Path | None) -> Listing:
    start, begun = time.perf_counter(), time.time_ns()
    names, buffer, lengths, counts = [], bytearray(), [], []
    changes: dict[str, tuple[int, int]] = {}
    for folder in walk(root):
        changes[folder.name] = folder.change
        for place in folder.targets - changes.keys():
            changes[place] = _change(root, place)
        if folder.images:
            images = [os.fsencode(os.path.join(folder.name, name)) for name in folder.images]
            buffer += b"".join(images)
            lengths.append(np.fromiter(map(len, images), np.int64, len(images)))
            names.append(folder.name)
            counts.append(len(images))
    if not counts:
        _none(root)
    files = Paths(np.frombuffer(buffer, np.uint8), np.cumsum(np.concatenate(lengths)), root=str(root))
    listing = Listing(files, Paths.of(names), np.array(counts))
    if len(files) >= INDEXED_FROM:
        seconds = time.perf_counter() - start
        if written := index is not None and _write_index(index, root, listing, changes, begun):
            listing = _mapped(read_arrays(index)[1], root)
        print_log(
            f"'{shown(root)}': {len(files):,} images in {len(names):,} folders listed in {seconds:.2f} s, "
            f"{len(files) / seconds:,.0f} per second; {f'index {index}' if written else 'no index written'}",
            logger="current",
        )
    return listing


def _change(root: Path, name: str) -> tuple[int, int]:
    """Inode and time of change of a folder; zeros if it is gone."""
    try:
        stat = os.stat(root / name)
    except OSError:
        return 0, 0
    return stat.st_ino, stat.st_ctime_ns


def _write_index(
    path: Path, root: Path, listing: Listing, changes: dict[str, tuple[int, int]], begun: int
) -> bool:
    """Write an index unless a folder changed during the listing, just before it, or at an unknown time."""
    if any(not 0 < time_ < begun - SETTLED for _, time_ in changes.values()):
        return False
    places = Paths.of(changes)
    arrays = {
        "files": listing.files.buffer,
        "file ends": listing.files.ends,
        "folders": listing.folders.buffer,
        "folder ends": listing.folders.ends,
        "counts": listing.counts,
        "places": places.buffer,
        "place ends": places.ends,
        "changes": np.array(list(changes.values()), np.uint64),
    }
    try:
        write_arrays(path, {"root": shown(os.path.realpath(root)), "extensions": EXTENSIONS}, arrays)
    except UserError as error:
        print_log(
            f"{error} Each process lists '{shown(root)}' again.", logger="current", level=logging.WARNING
        )
        return False
    return True


def _read_index(path: Path, root: Path) -> Listing | None:
    """Return the listing of an index; None if there is none, or if it is damaged or stale."""
    start = time.perf_counter()
    try:
        meta, arrays = read_arrays(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        print_log(f"{error}; listing again", logger="current", level=logging.WARNING)
        return None
    if meta != {"root": shown(os.path.realpath(root)), "extensions": list(EXTENSIONS)}:
        return None
    for place, change in zip(Paths(arrays["places"], arrays["place ends"]), arrays["changes"], strict=True):
        if _change(root, place) != tuple(change.tolist()):
            changed = shown(root / place)
            print_log(f"the index of '{shown(root)}' is stale: '{changed}' has changed", logger="current")
            return None
    listing = _mapped(arrays, root)
    print_log(
        f"'{shown(root)}': {len(listing.files):,} images mapped from the index {path} in "
        f"{time.perf_counter() - start:.2f} s; none of {len(arrays['changes']):,} folders has changed",
        logger="current",
    )
    return listing


def _mapped(arrays: dict[str, np.ndarray], root: Path) -> Listing:
    files = Paths(arrays["files"], arrays["file ends"], root=str(root))
    return Listing(files, Paths(arrays["folders"], arrays["folder ends"]), arrays["counts"])
