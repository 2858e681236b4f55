"""DICOM files through pydicom: pixels and the patient's id, and no other identifying field."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ssl_ext.datasets.intensity import Grey
from ssl_ext.errors import UserError
from ssl_ext.files import shown

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
INSTALL = "install pydicom (pip install 'ssl-ext[medical]')"
# Read with every image; pydicom adds the description of the pixels (group 0028).
VALUES = ("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept")
SIZE = ("Rows", "Columns", "NumberOfFrames")
PALETTE = tuple(
    f"{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)


def is_dicom(path: str | os.PathLike) -> bool:
    """True for a suffix of DICOM files; for no suffix or a number, the file's preamble decides."""
    name = os.path.basename(os.fspath(path)).lower()
    suffix = os.path.splitext(name)[1]
    if suffix in SUFFIXES:
        return True
    # Files without suffix are often named by a UID, such as 1.2.840.10008.1. DICOMDIR is an index.
    if (suffix and not suffix[1:].isdigit()) or name == "dicomdir":
        return False
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def need_pydicom(path: str | os.PathLike) -> Any:
    """Return pydicom.

    Raises:
        UserError: It is not installed; ``path`` names a file that needs it.
    """
    try:
        import pydicom
    except ImportError:
        raise UserError(f"'{shown(path)}' is a DICOM file: {INSTALL} to read it.") from None
    return pydicom


def read_dicom(path: str | os.PathLike, frame: int | str) -> Grey | np.ndarray:
    """Read one frame: grey values after rescaling, or RGB, uint8 (H, W, 3).

    Args:
        path: The file.
        frame: Index of the frame, counted from 0, or ``'middle'``.

    Raises:
        UserError: pydicom, or a decoder of the compressed pixels, is not installed.
        ValueError: no such frame, or an unknown photometric interpretation.
    """
    pydicom = need_pydicom(path)
    from pydicom.pixels import apply_color_lut, pixel_array

    header = _header(path, (*SIZE, "PhotometricInterpretation"))
    frames = int(header.get("NumberOfFrames") or 1)
    index = frames // 2 if frame == "middle" else int(frame)
    if not 0 <= index < frames:
        raise ValueError(f"has {frames} frames, and dataset.frame={frame} (counted from 0)")
    _check_decoder(header.file_meta.TransferSyntaxUID)
    file = pydicom.Dataset()
    tags = [pydicom.tag.Tag(name) for name in (*VALUES, *PALETTE)]
    stored = pixel_array(path, ds_out=file, specific_tags=tags, index=index)
    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)
    if stored.ndim == 3:
        bits = 8 * stored.itemsize if kind == "PALETTE COLOR" else int(file.BitsStored)
        return (stored >> max(0, bits - 8)).astype(np.uint8)
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"its photometric interpretation is {kind}; grey, RGB, YBR and palettes are read")
    return _grey(stored, file, inverted=kind == "MONOCHROME1")


def _header(path: str | os.PathLike, names: Iterable[str]) -> Any:
    """Elements of a file with these names only."""
    return need_pydicom(path).dcmread(path, stop_before_pixels=True, specific_tags=list(names))


def _check_decoder(syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    if not syntax.is_compressed:
        return
    try:
        found = get_decoder(syntax).is_available
    except NotImplementedError:
        raise UserError(f"its pixels are compressed as {syntax.name}, which pydicom does not read") from None
    if not found:
        raise UserError(
            f"its pixels are compressed as {syntax.name}: install a decoder (pip install 'pylibjpeg[all]')"
        )


def _grey(stored: np.ndarray, file: Any, *, inverted: bool) -> Grey:
    """Grey values, their range in the file's format, and its first window."""
    slope, intercept = (float(_first(file.get(name), default)) for name, default in (
        ("RescaleSlope", 1), ("RescaleIntercept", 0)
    ))  # fmt: skip
    full, bits = None, 32
    signed = bool(file.get("PixelRepresentation"))
    if stored.dtype.kind in "iu":
        bits = int(file.BitsStored)
        low = -(1 << bits - 1) if signed else 0
        black, white = sorted(slope * value + intercept for value in (low, low + (1 << bits) - 1))
        full = (black, white)
    values = stored * slope + intercept
    center, width = (_first(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
    window, sigmoid = None, None
    if center is not None and width is not None:
        center, width = float(center), float(width)
        function = str(file.get("VOILUTFunction") or "LINEAR")
        # DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.
        if function == "SIGMOID":
            sigmoid = (center, width)
        elif function == "LINEAR_EXACT":
            window = (center - width / 2, center + width / 2)
        else:
            window = (center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
    return Grey(values, full, bits, signed=signed, window=window, sigmoid=sigmoid, inverted=inverted)


def _first(value: Any, default: Any = None) -> Any:
    """First of several values; ``default`` for none."""
    if value is None or value == "":
        return default
    return value[0] if not isinstance(value, str) and hasattr(value, "__len__") else value


def dicom_size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width in pixels."""
    header = _header(path, SIZE)
    return int(header.Rows), int(header.Columns)


def patient_ids(paths: Iterable[str | os.PathLike]) -> list[str]:
    """PatientID of each file; empty where there is none or the file is no readable DICOM file."""
    found = []
    for path in paths:
        try:
            name = str(_header(path, ["PatientID"]).get("PatientID") or "") if is_dicom(path) else ""
        except UserError:
            raise
        except Exception:
            # pydicom raises many types on damaged files, which are reported when they are decoded.
            name = ""
        found.append(name.strip())
    return found
