"""Groups of images, such as all images of a patient, lesion or slide."""

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ssl_ext.datasets.dicom import patient_ids
from ssl_ext.datasets.files import damaged_file, npz_array
from ssl_ext.datasets.listing import image_names

OPTION = "config key: dataset.group"
# Names of columns that hold groups, such as patient_id, "Lesion ID", PatientID and StudyInstanceUID.
USUAL = re.compile(r"(patient|subject|case|lesion|slide|study|studie)s?(instance)?(u?id|no|number|name)?s?")


def check_groups(groups: Any, count: int) -> np.ndarray | None:
    """Return one group name for each image as a string array (N,); None stays None.

    Raises:
        TypeError: names that are neither strings nor integers.
        ValueError: not one name for each of ``count`` images, or an empty name.
    """
    if groups is None:
        return None
    array = np.asarray(groups)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "iuUS":
        raise TypeError(f"groups must be strings or integers, got {array.dtype}")
    if array.shape != (count,):
        raise ValueError(f"groups must have shape ({count},), one name for each image, got {array.shape}")
    names = np.char.strip(np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(str))
    if empty := np.flatnonzero(names == "").tolist():
        raise ValueError(f"groups: image {empty[0]} (counted from 0) has an empty name")
    return names


def warn_of_unused_groups(path: Path, names: Iterable[str], *, affix: str = "") -> None:
    """Warn once about the first column or array that is named like a group, because it is not used.

    ``affix`` is a regular expression for a prefix to remove from the names, such as ``train_``.
    """
    for name in names:
        value = re.sub(affix, "", name)
        if value and USUAL.fullmatch(re.sub(r"[\W_]", "", value).lower()):
            _warn(path, name, value)
            return


@cache
def _warn(path: Path, name: str, value: str) -> None:
    print_log(
        f"{path}: {name!r} is not used, so images that share it may be on both sides of a split: set "
        f"group={value!r} to keep them together ({OPTION}).",
        logger="current",
        level=logging.WARNING,
    )


def dicom_groups(
    paths: Sequence[str | Path], root: Path | None = None, *, warn: bool = True
) -> list[str] | None:
    """Patient ids of DICOM files; None, with a warning, if some have none, or if all have the same.

    If the files are a part of those in ``root``, all in ``root`` must have the same.
    """
    names = patient_ids(paths)
    if missing := names.count(""):
        fault = f"{missing} of {len(names)} files have no PatientID"
    elif len(names) > 1 and {*names} == {names[0]} and (not root or _has_one_patient(root, names[0])):
        fault = f"all {len(names)} files have the same PatientID, as in anonymised exports"
    else:
        return names or None
    if warn:
        _warn_of_patients(fault)
    return None


def _has_one_patient(root: Path, patient: str) -> bool:
    return all(patient_ids([root / name]) == [patient] for name in image_names(root))


@cache
def _warn_of_patients(fault: str) -> None:
    print_log(
        f"{fault}, so groups are not used: images of a patient may be on both sides of a split (give a CSV "
        f"file with a column of groups; {OPTION}).",
        logger="current",
        level=logging.WARNING,
    )


def read_npz_groups(
    path: Path,
    names: Sequence[str],
    split: str,
    available: Sequence[str],
    group: str | None,
    *,
    key: str = "{split}_{group}",
) -> np.ndarray | None:
    """Return the array of a split's group names in a ``.npz`` file, or None without one.

    Args:
        path: the file.
        names: names of all arrays in the file.
        split: the split to read.
        available: names of all splits; all or none must have groups.
        group: option ``group`` of the data set; None: ``'groups'``, if the file has such arrays.
        key: format of the array names.

    Raises:
        ValueError: a split has no array of groups although it is required.
    """
    keys = {part: key.format(split=part, group=group or "groups") for part in available}
    lacking = [name for name in keys.values() if name not in names]
    if group is None and len(lacking) == len(keys):
        affix = "|".join(key.format(split=part, group="") for part in available)
        warn_of_unused_groups(path, names, affix=affix)
        return None
    if lacking:
        raise damaged_file(path, f"no array {lacking[0]!r}: all splits have groups, or none ({OPTION})")
    return npz_array(path, keys[split])
