"""DICOM files written by pydicom."""

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

# Planted in every file; may appear nowhere.
NAME, BIRTH = "Planted^Person", "19510203"


def save_dicom(path, pixels, *, bits=12, kind="MONOCHROME2", patient="P1", syntax=None, **elements):
    """Write grey pixels (H, W) or (frames, H, W), or RGB (H, W, 3)."""
    pixels = np.asarray(pixels)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        SecondaryCaptureImageStorage,
        generate_uid(),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientBirthDate, file.PatientID = NAME, BIRTH, patient
    file.InstitutionName = "Planted Hospital"
    colour = kind == "RGB"
    file.PhotometricInterpretation, file.SamplesPerPixel = kind, 3 if colour else 1
    if colour:
        file.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        file.NumberOfFrames = len(pixels)
    file.Rows, file.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    file.BitsAllocated = 8 * pixels.itemsize
    file.BitsStored, file.HighBit = bits, bits - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    if syntax:
        file.compress(syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path
