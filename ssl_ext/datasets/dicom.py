"""DICOM files through pydicom: pixels and the patient's id, and no other identifying field."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from ssl_ext.datasets.intensity import Grey
from ssl_ext.errors import UserError
from ssl_ext.files import shown

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
INSTALL = "install pydicom (pip install 'ssl-ext[medical]')"
# Read with every image; pydicom adds the description of the pixels (group 0028).
TABLES = ("ModalityLUTSequence", "VOILUTSequence")
VALUES = ("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept", *TABLES)
# Enhanced files have these values in a sequence of each group, for all frames and for each frame.
GROUPS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
SIZE = ("Rows", "Columns", "NumberOfFrames")
# Files of floating-point pixels lack them; pydicom needs them for windows.
FLOATS = {"BitsStored": 16, "PixelRepresentation": 0}
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
    """Read one frame: grey values after the modality LUT or rescaling, or RGB, uint8 (H, W, 3).

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
    tags = [pydicom.tag.Tag(name) for name in (*VALUES, *PALETTE, SHARED, EACH)]
    stored = pixel_array(path, ds_out=file, specific_tags=tags, index=index)
    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)
    if stored.ndim == 3:
        bits = 8 * stored.itemsize if kind == "PALETTE COLOR" else int(file.BitsStored)
        return (stored >> max(0, bits - 8)).astype(np.uint8)
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"its photometric interpretation is {kind}; grey, RGB, YBR and palettes are read")
    _copy_frame_values(file, index)
    return _grey(stored, file, inverted=kind == "MONOCHROME1")


def _copy_frame_values(file: Any, index: int) -> None:
    """Set the values of a frame of an enhanced file, which are in its functional groups."""
    each = file.get(EACH) or []
    if each and index >= len(each):
        raise ValueError(f"its {EACH} has {len(each)} items, none for frame {index} (counted from 0)")
    for groups in (*(file.get(SHARED) or [])[:1], *each[index : index + 1]):
        for sequence, names in GROUPS.items():
            item = (groups.get(sequence) or [{}])[0]
            for name in names:
                if item.get(name) not in (None, ""):
                    setattr(file, name, item.get(name))


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
    """Grey values after the modality LUT or rescaling, their range, and the first VOI LUT or window."""
    from pydicom.pixels import apply_modality_lut

    for name in VALUES:
        if name in file and file[name].is_empty:
            del file[name]
    for name, default in {"RescaleSlope": 1, "RescaleIntercept": 0, **FLOATS}.items():
        file.setdefault(name, default)
    modality, voi = (_table_bits(file, name) for name in TABLES)
    full, bits, signed = None, 32, bool(file.PixelRepresentation)
    if not modality and float(file.RescaleSlope) == 0:
        raise ValueError("its RescaleSlope is 0")
    if stored.dtype.kind in "iu":
        bits = int(file.BitsStored)
        # Indices of tables are negative before they are limited to the table.
        stored = stored.astype(np.int64)
        if modality:
            full, bits, signed = (0.0, 2.0**modality - 1), modality, False
        else:
            low = -(1 << bits - 1) if signed else 0
            black, white = sorted(apply_modality_lut(np.array([low, low + (1 << bits) - 1]), file).tolist())
            full = (black, white)
    values = apply_modality_lut(stored, file)
    if voi and full and full[0] < 0:
        # With implicit VR pydicom reads a negative first value as unsigned if the pixels are.
        descriptor = file.VOILUTSequence[0].LUTDescriptor
        descriptor[1] = (descriptor[1] + 2**15) % 2**16 - 2**15
    window = None
    if voi:
        window = partial(_looked_up, values, file, voi)
    elif _valid_window(file):
        window = partial(_windowed, values, file)
    return Grey(values, full, bits, signed=signed, window=window, inverted=inverted)


def _table_bits(file: Any, name: str) -> int:
    """Bits of an entry of a lookup table, 0 without one, which pydicom then reads as 16 bits.

    With 8 bits pydicom 3.0 keeps only 8 bits of the index too and does not read entries of one byte, and it
    refuses other numbers than 8 and 16 in modality LUTs.

    Raises:
        ValueError: the table lacks its descriptor, or has fewer entries than that says.
    """
    if name not in file:
        return 0
    item = file[name].value[0]
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or data is None or np.size(descriptor) != 3:
        raise ValueError(f"its {name} needs a LUTDescriptor of three numbers and LUTData")
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries or 2**16
    found = len(data) // 2 if isinstance(data, bytes) else np.size(data)
    # One byte an entry, and one more if their number is odd.
    if isinstance(data, bytes) and bits <= 8 and entries <= len(data) <= entries + 1:
        item.add_new("LUTData", "US", list(data))
    elif found < entries:
        raise ValueError(f"its {name} has {found} of the {entries} entries of its LUTDescriptor")
    item.add_new("LUTDescriptor", "SL", [entries, first, 16])
    return int(bits)


def _valid_window(file: Any) -> bool:
    """True for a window whose width DICOM permits (PS3.3, C.11.2.1.2); others are ignored."""
    if "WindowCenter" not in file or "WindowWidth" not in file:
        return False
    width = float(np.ravel(file.WindowWidth)[0])
    return width >= 1 or (width > 0 and file.get("VOILUTFunction", "LINEAR") != "LINEAR")


def _looked_up(values: np.ndarray, file: Any, bits: int) -> np.ndarray:
    """Values by the first VOI LUT, in [0, 1]."""
    from pydicom.pixels import apply_voi

    return apply_voi(np.rint(values).astype(np.int64), file) / (2**bits - 1)


def _windowed(values: np.ndarray, file: Any) -> np.ndarray:
    """Values by the first window, in [0, 1]."""
    from pydicom.pixels import apply_windowing

    # pydicom scales to the range of the stored values.
    black, white = apply_windowing(np.array([-np.inf, np.inf]), file)
    return (apply_windowing(values, file) - black) / (white - black)


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
