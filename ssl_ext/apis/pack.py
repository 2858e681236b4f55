"""Pack image files in one file per split, read by :class:`ssl_ext.datasets.PackedDataset`."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.logging import print_log

from ssl_ext.config.data import build_dataset
from ssl_ext.config.load import load_config
from ssl_ext.console import progress
from ssl_ext.datasets.entries import read_entries
from ssl_ext.datasets.file_dataset import FileDataset
from ssl_ext.datasets.files import locked
from ssl_ext.datasets.folder import folder_splits
from ssl_ext.datasets.image_files import PillowFiles, reading_options
from ssl_ext.datasets.labels import label_array
from ssl_ext.datasets.mapped import read_arrays, write_arrays
from ssl_ext.datasets.packed import AGAIN, images_file, index_file, partial_file
from ssl_ext.datasets.packing import RECORD, Form, encoded_images, read_records
from ssl_ext.datasets.paths import Paths
from ssl_ext.errors import UserError, sentence, user_errors
from ssl_ext.files import file_fault, shown
from ssl_ext.registry import DATASETS


def pack(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    size: int | None = None,
    short_side: int | None = None,
    quality: int = 95,
    channels: int = 3,
    labels_file: str | None = None,
    group: str | None = None,
    workers: int = 2,
    options: dict | None = None,
) -> list[Path]:
    """Pack all splits of a data set of image files; return the paths of their indices.

    Every image is decoded once, so a damaged file is reported here. After a kill the same call resumes.

    Args:
        source: A folder for ``FolderDataset``, or for ``ImageFiles`` with ``labels_file``; or a config.
        out: Folder of the pack.
        size: Store uint8 arrays of ``size`` × ``size`` pixels, resized and cropped as by FileDataset.
        short_side: Store images with a larger short side as JPEG reduced to it. All other files are stored
            byte for byte, and without ``size`` and ``short_side`` all files are.
        quality: JPEG quality of reduced images.
        channels: Channels of arrays and reduced images, 3 or 1.
        labels_file: CSV file of ``ImageFiles``.
        group: Its column of groups.
        workers: Processes that read images; 0: this one.
        options: Config keys to override.

    Raises:
        UserError: No image files, a damaged file, files that changed since packing began, other settings than
            those of the half-written pack in ``out``, or a different pack in ``out``.
    """
    form = Form(size, short_side, quality, channels)
    settings = _settings(source, labels_file, group, options)
    root = Path(out).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        splits = _splits(settings)
        for split in splits:
            try:
                _pack_split(root, split, partial(_listed, settings, split, form), form, workers)
            except ValueError as error:
                # An error in a worker process has its traceback in the message.
                raise UserError(sentence(error)) from error
    return [index_file(root, split) for split in splits]


def _settings(
    source: str | os.PathLike, labels_file: str | None, group: str | None, options: dict | None
) -> dict[str, Any]:
    """Config of the data set to pack."""
    if Path(source).expanduser().is_dir():
        if options:
            raise UserError("--cfg-options need a config as SOURCE, not a folder.")
        if labels_file is None:
            return dict(type="FolderDataset", data_root=str(source))
        return dict(type="ImageFiles", data_root=str(source), labels_file=labels_file, group=group)
    if labels_file is not None or group is not None:
        raise UserError("--labels-file and --group need a folder as SOURCE; a config names its own.")
    config = load_config(source, options)
    found = config.get("evaluation_dataset") or (config.get("train_dataloader") or {}).get("dataset")
    if not found:
        raise UserError("The config has neither evaluation_dataset nor train_dataloader.dataset to pack.")
    kept = {key: value for key, value in found.items() if key not in ("split", "image_size", "scale")}
    if kept.get("crop") == "random":
        del kept["crop"]
    return kept


def _splits(settings: dict[str, Any]) -> tuple[str, ...]:
    if settings["type"] == "FolderDataset":
        return folder_splits(settings["data_root"], settings.get("test_share"))
    return _listed(settings, "train", Form()).available_splits


def _listed(settings: dict[str, Any], split: str, form: Form) -> FileDataset:
    """Return files, labels and classes of a split, without decoding an image."""
    if settings["type"] != "ImageFiles":
        options = dict(settings, split=split, image_size=form.size or 1, channels=form.channels)
        if not issubclass(DATASETS.get(settings["type"]) or object, FileDataset):
            raise UserError(f"{settings['type']} does not read image files, so there is nothing to pack.")
        return build_dataset("SOURCE", options)
    given = {
        key: value for key, value in settings.items() if key in inspect.signature(read_entries).parameters
    }
    with user_errors("SOURCE"):
        entries = read_entries(**given)
        kept = entries.of(split)
        reading = reading_options(settings)
        found = PillowFiles(**{**reading, "image_size": form.size or 1, "channels": form.channels})
        labels = label_array([entry.labels for entry in kept], entries.classes, entries.task)
        files = Paths.of([entry.file for entry in kept], root=str(entries.root))
        found.set_files(
            files, labels, classes=entries.classes, split=split, available_splits=entries.available
        )
    found.task = entries.task
    found.groups = np.array([entry.group for entry in kept]) if entries.all[0].group else None
    return found


def _listing_hash(data: FileDataset) -> str:
    digest = hashlib.blake2b(data.files.buffer.data, digest_size=16)
    digest.update(data.files.ends.data)
    digest.update(data.labels.numpy().data)
    digest.update(repr((data.classes, data.groups if data.groups is None else data.groups.tolist())).encode())
    return digest.hexdigest()


def _changed(root: Path, split: str, how: str) -> UserError:
    return UserError(f"{how} since packing began: delete '{shown(partial_file(root, split))}' and {AGAIN}.")


def _pack_split(root: Path, split: str, listed: Callable[[], FileDataset], form: Form, workers: int) -> None:
    data, done = listed(), index_file(root, split)
    header = dict(form=vars(form), listing=_listing_hash(data))
    if done.exists():
        _check_same(done, read_arrays(done)[0], header)
        print_log(f"{split}: {len(data):,} images are packed already", logger="current")
        return
    start = time.monotonic()
    with open(partial_file(root, split), "ab+") as journal, open(images_file(root, split), "ab+") as images:
        kept = _resume(journal, images, header)
        with progress(split, len(data) - kept, "images") as advance:
            for batch, records in encoded_images(data, form, kept, workers):
                images.write(batch)
                images.flush()
                os.fsync(images.fileno())
                journal.write(records)
                journal.flush()
                advance(len(records))
    rate = (len(data) - kept) / (time.monotonic() - start)
    print_log(f"{split}: {len(data):,} images packed, {rate:,.0f} per second", logger="current")
    _finish(root, split, data, listed(), form, header)


def _check_same(path: Path, stored: dict[str, Any], header: dict[str, Any]) -> None:
    if stored["form"] != header["form"]:
        options = ", ".join(f"{key} {value}" for key, value in stored["form"].items() if value is not None)
        raise UserError(f"'{shown(path)}' was written with {options}: use the same options, or delete it.")
    if stored["listing"] != header["listing"]:
        raise UserError(
            f"The files have changed since '{shown(path)}' was written (names, order, labels or groups): "
            f"delete it and {AGAIN}."
        )


def _resume(journal: BinaryIO, images: BinaryIO, header: dict[str, Any]) -> int:
    """Return the number of images that an earlier run packed correctly; cut both files after them."""
    journal.seek(0)
    line = journal.readline()
    if not line.endswith(b"\n"):
        journal.truncate(0)
        images.truncate(0)
        journal.write(json.dumps(header).encode() + b"\n")
        journal.flush()
        return 0
    _check_same(Path(journal.name), json.loads(line), header)
    records = read_records(journal.read())
    images.seek(0)
    kept = next(
        (row for row, (length, checksum, *_) in enumerate(records.tolist())
         if len(data := images.read(length)) < length or zlib.crc32(data) != checksum),
        len(records),
    )  # fmt: skip
    journal.truncate(len(line) + kept * RECORD.itemsize)
    images.truncate(int(records["length"][:kept].sum()))
    return kept


def _finish(
    root: Path, split: str, data: FileDataset, now: FileDataset, form: Form, header: dict[str, Any]
) -> None:
    """Verify that no file has changed, and write the index."""
    journal = partial_file(root, split)
    records = read_records(journal.read_bytes().partition(b"\n")[2])
    if _listing_hash(now) != header["listing"]:
        raise _changed(root, split, "Files were added or removed")
    for path, size, modified in zip(data.files, records["size"], records["time"], strict=True):
        if file_fault(path) or (os.stat(path).st_size, os.stat(path).st_mtime_ns) != (size, modified):
            raise _changed(root, split, f"'{shown(path)}' has changed")
    names = Paths.of(map(data.files.name, range(len(data.files))))
    arrays = {
        "names": names.buffer,
        "name ends": names.ends,
        "labels": data.labels.numpy(),
        "ends": np.cumsum(records["length"]),
        "checksums": records["checksum"],
        "plain": records["plain"],
    }
    if data.groups is not None:
        groups = Paths.of(data.groups)
        arrays |= {"groups": groups.buffer, "group ends": groups.ends}
    content = hashlib.blake2b(json.dumps([header["form"], data.classes]).encode(), digest_size=16)
    for array in arrays.values():
        content.update(np.ascontiguousarray(array).data)
    meta = dict(header, arrays=form.size is not None, side=form.size or form.short_side)
    meta |= dict(
        channels=form.channels, task=data.task, classes=data.classes or (), content=content.hexdigest()
    )
    write_arrays(index_file(root, split), meta, arrays)
    journal.unlink()
