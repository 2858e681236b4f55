"""DICOM files and 16-bit images: grey values, groups, and no other identifying field."""

import builtins
import logging

import numpy as np
import pydicom
import pytest
import torch
from dicom_files import BIRTH, NAME, save_dicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import MPEG2MPML, JPEGLSLossless, RLELossless

from ssl_ext.apis import pack
from ssl_ext.datasets import FolderDataset, ImageFiles, PackedDataset
from ssl_ext.datasets.decode import Reading, image_size, read_image
from ssl_ext.datasets.decode import _warn_of_dark as dark
from ssl_ext.datasets.dicom import is_dicom
from ssl_ext.datasets.listing import image_names
from ssl_ext.evaluation.splits import load_splits

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65


def grey(path, **options):
    return np.asarray(read_image(path, Reading(1, **options)))


@pytest.fixture
def warnings(monkeypatch):
    from ssl_ext.datasets import decode, groups, labels

    found = []
    for module in (decode, groups, labels):
        monkeypatch.setattr(module, "print_log", lambda text, *_, **__: found.append(text))
    dark.cache_clear()
    groups._warn_of_patients.cache_clear()
    return found


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_the_range_of_the_bits_becomes_0_to_255(kind, tmp_path):
    path = save_dicom(tmp_path / "a.dcm", RAMP, kind=kind)
    expected = np.rint(255 * (RAMP / 4095))
    assert np.array_equal(grey(path), 255 - expected if kind == "MONOCHROME1" else expected)
    assert image_size(path) == (8, 8)


@pytest.mark.parametrize("intensity", ["minmax", "percentile"])
def test_a_constant_image_is_black(intensity, tmp_path):
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        path = save_dicom(tmp_path / "a.dcm", np.full((8, 8), 7, np.uint16), kind=kind)
        assert not grey(path, intensity=intensity).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("intensity", ["minmax", "percentile", (0, 1)])
def test_values_that_are_not_finite_are_named(value, intensity, tmp_path):
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[2, 3] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: .*1 of 64 grey values are NaN or infinite"):
        grey(tmp_path / "a.tif", intensity=intensity)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
def test_slope_and_windows_equal_pydicoms(function, tmp_path):
    # Stored values are signed, as those of CT.
    stored = np.linspace(-200, 3000, 64).astype(np.int16).reshape(8, 8)
    window = {"VOILUTFunction": function} if function else {}
    path = save_dicom(
        tmp_path / "a.dcm", stored, bits=16, RescaleSlope=0.5, RescaleIntercept=-700,
        WindowCenter=[40, 500], WindowWidth=[400, 1500], **window,
    )  # fmt: skip
    file = pydicom.dcmread(path)
    wanted = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file, index=0)
    # pydicom scales to the range of the stored values after rescaling.
    low, high = (0.5 * value - 700 for value in (-(2**15), 2**15 - 1))
    wanted = 255 * (wanted - low) / (high - low)
    assert np.abs(grey(path) - wanted).max() <= 0.51
    # A window by option: -160 HU is black, 240 white.
    own = np.clip((0.5 * stored - 700 + 160) / 400, 0, 1) * 255
    assert np.abs(grey(path, intensity=(-160, 240)) - own).max() <= 0.51


def table(first, values, bits, *, packed):
    """A sequence with one lookup table, in words of US, or as bytes: one for 8 bits, else two."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    if packed:
        data = np.asarray(values, "<u1" if bits == 8 else "<u2").tobytes()
        item.add_new("LUTData", "OW", data + b"\0" * (len(data) % 2))
    else:
        item.add_new("LUTData", "US", list(map(int, values)))
    return pydicom.Sequence([item])


# Bits of the entries of the modality and of the VOI table.
@pytest.mark.parametrize("bits", [(8, 16), (12, 8), (16, 16)])
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_lookup_tables_are_applied_before_the_inversion(kind, bits, tmp_path):
    top, white = (2**one - 1 for one in bits)
    # The modality table begins at 5 and has 4,000 entries: values outside get its ends.
    modality = np.rint(top * np.linspace(0.2, 1, 4000) ** 2).astype(int)
    voi = np.rint(white * np.linspace(0, 0.9, top) ** 3).astype(int)
    tables = dict(
        ModalityLUTSequence=table(5, modality, bits[0], packed=False),
        VOILUTSequence=table(0, voi, bits[1], packed=True),
    )
    path = save_dicom(tmp_path / "a.dcm", RAMP, kind=kind, WindowCenter=3, WindowWidth=2, **tables)

    def error(found, share):
        return np.abs(found - 255 * (1 - share if kind == "MONOCHROME1" else share)).max()

    values = modality[np.clip(RAMP.astype(int) - 5, 0, 3999)]
    share = voi[np.minimum(values, top - 1)] / white
    assert error(grey(path), share) <= 0.51
    if bits == (16, 16):
        # pydicom alone refuses modality tables of 12 bits, and cuts the indices of tables of 8 bits.
        file = pydicom.dcmread(path)
        assert np.array_equal(apply_voi_lut(apply_modality_lut(file.pixel_array, file), file), share * white)
    # Other intensities than 'window' are of the values after the modality table.
    assert error(grey(path, intensity="full"), values / top) <= 0.51
    own = grey(path, intensity=(0.25 * top, 0.75 * top))
    assert error(own, np.clip((values / top - 0.25) / 0.5, 0, 1)) <= 0.51


# As unsigned number, as pydicom reads it from files of unsigned pixels with implicit VR.
@pytest.mark.parametrize("first", [-20, 2**16 - 20])
def test_a_voi_table_begins_below_zero_after_rescaling(first, tmp_path):
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    voi = np.arange(50) * 5
    path = save_dicom(
        tmp_path / "a.dcm", values, bits=8, RescaleSlope=1, RescaleIntercept=-40,
        VOILUTSequence=table(first, voi, 8, packed=False),
    )  # fmt: skip
    assert np.array_equal(grey(path), voi[np.clip(values.astype(int) - 20, 0, 49)])


def test_damaged_tables_are_a_sentence(tmp_path):
    short, empty = table(0, range(4096), 16, packed=True), table(0, range(9), 16, packed=False)
    short[0].LUTData = short[0].LUTData[:8000]
    del empty[0].LUTData
    for settings, words in [
        (dict(VOILUTSequence=short), "its VOILUTSequence has 4000 of the 4096 entries"),
        (dict(ModalityLUTSequence=empty), "its ModalityLUTSequence needs a LUTDescriptor"),
        (dict(RescaleSlope=0, RescaleIntercept=0), "its RescaleSlope is 0"),
    ]:
        path = save_dicom(tmp_path / "a.dcm", RAMP, **settings)
        with pytest.raises(ValueError, match=words):
            grey(path)


@pytest.mark.parametrize("width", [0, -3, None])
def test_a_window_without_a_width_is_ignored(width, tmp_path):
    path = save_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=0, WindowWidth=width, RescaleSlope=None)
    assert np.array_equal(grey(path), np.rint(255 * (RAMP / 4095)))


def test_floating_point_pixels_have_windows(tmp_path):
    path = save_dicom(
        tmp_path / "a.dcm", RAMP, WindowCenter=0.5, WindowWidth=1, VOILUTFunction="LINEAR_EXACT"
    )
    file = pydicom.dcmread(path)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del file[name]
    file.BitsAllocated, values = 32, np.linspace(-0.5, 1.5, 64, dtype=np.float32).reshape(8, 8)
    file.FloatPixelData = values.tobytes()
    file.save_as(path)
    assert np.abs(grey(path) - 255 * values.clip(0, 1)).max() <= 0.51


def test_limits_of_each_image(tmp_path):
    values = np.full((20, 20), 1000, np.uint16)
    values[0, 0], values[0, 1], values[1:11] = 0, 4000, 1200
    path = save_dicom(tmp_path / "a.dcm", values, bits=16)
    Image.fromarray(values).save(tmp_path / "a.png")
    for file in (path, tmp_path / "a.png"):
        assert grey(file, intensity="minmax")[5, 5] == round(255 * 1200 / 4000)
        assert sorted(set(grey(file, intensity="percentile").flatten())) == [0, 255]
        assert grey(file, intensity=(1000, 1400))[5, 5] == 128
        assert grey(file, intensity="full").max() == round(4000 / 257)
    for wrong in ("bright", (2, 1), (1,), 3):
        with pytest.raises(ValueError, match=r"dataset\.intensity must be 'window', 'full'"):
            Reading(1, wrong)


def test_frames_colours_and_compression(tmp_path):
    frames = np.stack([np.full((8, 8), 255 * level, np.uint16) for level in range(5)])
    path = save_dicom(tmp_path / "cine.dcm", frames, bits=16, syntax=RLELossless)
    shades = [grey(path, intensity=(0, 255 * 4), frame=frame).max() for frame in ("middle", 0, 4)]
    assert shades == [128, 0, 255]
    with pytest.raises(ValueError, match=r"cine\.dcm: .*has 5 frames, and dataset\.frame=5"):
        grey(path, frame=5)
    colour = np.random.default_rng(0).integers(0, 255, (8, 10, 3), np.uint8)
    path = save_dicom(tmp_path / "colour.dcm", colour, bits=8, kind="RGB")
    assert np.array_equal(np.asarray(read_image(path)), colour)
    path = save_dicom(tmp_path / "b.dcm", RAMP)
    for syntax, words in ((JPEGLSLossless, r"pip install 'pylibjpeg\[all\]'"), (MPEG2MPML, "not read")):
        file = pydicom.dcmread(path)
        file.file_meta.TransferSyntaxUID = syntax
        file.PixelData = pydicom.encaps.encapsulate([b"none"])
        file["PixelData"].is_undefined_length = True
        file.save_as(path)
        with pytest.raises(ValueError, match=rf"b\.dcm: .*compressed as (JPEG-LS|MPEG2).*{words}"):
            grey(path)


def group(name, **values):
    """Functional groups with one item of one sequence."""
    item, groups = pydicom.Dataset(), pydicom.Dataset()
    for key, value in values.items():
        setattr(item, key, value)
    setattr(groups, name, pydicom.Sequence([item]))
    return groups


def test_frames_of_enhanced_files_have_windows_and_slopes_of_their_own(tmp_path):
    """As CT: the slope is shared or of each frame, and windows of each frame override a shared one."""
    frames = np.stack([RAMP, RAMP + 7, RAMP])
    shared = group("PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=-1000)
    default = group("FrameVOILUTSequence", WindowCenter=100, WindowWidth=400)
    shared.FrameVOILUTSequence = default.FrameVOILUTSequence
    windows = [(300, 800), (None, None), (2000, 4000)]
    each = [group("FrameVOILUTSequence", WindowCenter=c, WindowWidth=w) for c, w in windows]
    own = group("PixelValueTransformationSequence", RescaleSlope=0.5, RescaleIntercept=0)
    each[2].PixelValueTransformationSequence = own.PixelValueTransformationSequence
    groups = {
        "SharedFunctionalGroupsSequence": pydicom.Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": pydicom.Sequence(each),
    }
    path = save_dicom(tmp_path / "ct.dcm", frames, bits=16, **groups)
    found = [grey(path, frame=frame) for frame in range(3)]
    values = dict(slope=[2, 2, 0.5], intercept=[-1000, -1000, 0], centre=[300, 100, 2000])
    values["width"] = [800, 400, 4000]
    for frame, (slope, intercept, centre, width) in enumerate(zip(*values.values(), strict=True)):
        plain = save_dicom(
            tmp_path / "plain.dcm", frames[frame], bits=16, RescaleSlope=slope, RescaleIntercept=intercept,
            WindowCenter=centre, WindowWidth=width,
        )  # fmt: skip
        assert np.array_equal(found[frame], grey(plain)), frame
    few = {"PerFrameFunctionalGroupsSequence": pydicom.Sequence(each[:1])}
    path = save_dicom(tmp_path / "few.dcm", frames, bits=16, **few)
    with pytest.raises(ValueError, match=r"few\.dcm: .*has 1 items, none for frame 1"):
        grey(path, frame=1)


@pytest.fixture
def scans(tmp_path):
    """Twelve images of six patients in two classes; names with and without a suffix."""
    for number in range(12):
        name = ("a/{}.dcm", "b/1.2.840.{}", "b/IM{}")[number % 3].format(number)
        save_dicom(tmp_path / "scans" / name, np.roll(RAMP, number), patient=f"P{number // 2}")
    (tmp_path / "scans/LICENSE").write_text("no image, " * 30)
    (tmp_path / "scans/DICOMDIR").write_bytes((tmp_path / "scans/a/0.dcm").read_bytes())
    return tmp_path / "scans"


@pytest.mark.parametrize("kind", [ImageFiles, FolderDataset])
def test_patients_are_groups(kind, scans):
    assert len(image_names(scans)) == 12 and is_dicom(scans / "b/IM2")
    options = dict(class_folders=True) if kind is ImageFiles else {}
    train, test = (
        kind(split, str(scans), image_size=8, test_share=0.4, **options) for split in ("train", "test")
    )
    assert len(train) + len(test) == 12
    assert not {*train.groups} & {*test.groups} and {*train.groups, *test.groups} == {
        *map("P{}".format, range(6))
    }
    assert train[0]["inputs"].shape == (3, 8, 8)


def test_a_column_of_groups_comes_first_and_a_patient_without_id_is_reported(scans, warnings):
    table = scans.parent / "own.csv"
    table.write_text("file,label,group\na/0.dcm,x,g1\na/3.dcm,y,g2\n")
    options = dict(data_root=scans, image_size=8, labels_file=table, test_share=0.5)
    assert ImageFiles("train", **options).groups.tolist() == ["g1", "g2"]
    table.write_text("file,label\na/0.dcm,x\na/3.dcm,y\n")
    assert ImageFiles("train", **options).groups.tolist() == ["P0", "P1"]
    save_dicom(scans / "a/3.dcm", RAMP, patient="")
    assert ImageFiles("train", **options).groups is None
    assert any("1 of 2 files have no PatientID" in text for text in warnings)


@pytest.mark.parametrize("patient", ["", "ANON"])
def test_one_patient_or_none_is_no_group(patient, tmp_path, warnings):
    for number in range(8):
        name = f"{'train' if number < 5 else 'test'}/{'ab'[number % 2]}/{number}.dcm"
        save_dicom(tmp_path / name, RAMP, patient=patient)
    splits = ("train", "test")
    options = dict(data_root=str(tmp_path), image_size=8)
    assert ImageFiles(**options).groups is None and not warnings  # without labels there are no splits
    for kind, more in ((ImageFiles, dict(class_folders=True)), (FolderDataset, {})):
        load_splits(lambda split, kind=kind, more=more: kind(split, **options, **more))
    drawn = [FolderDataset(one, str(tmp_path / "train"), image_size=8, test_share=0.4) for one in splits]
    assert [len(data) for data in drawn] == [3, 2] and all(data.groups is None for data in drawn)
    words = "have the same PatientID, as in anonymised exports" if patient else "have no PatientID"
    assert all(words in text and "dataset.group" in text for text in warnings)
    assert [int(text.split(" files")[0].split()[-1]) for text in warnings] == [8, 5, 3, 2]
    if patient:
        # The test split is of one patient, but the folder is not.
        save_dicom(tmp_path / "train/a/8.dcm", RAMP, patient="B")
        assert {*FolderDataset("test", **options).groups} == {"ANON"}
        with pytest.raises(ValueError, match="the group 'ANON' has images both in train and in test"):
            load_splits(lambda split: FolderDataset(split, **options))


def test_nothing_else_of_a_patient_is_read_or_stored(scans, tmp_path, monkeypatch):
    read, opened = [], pydicom.dcmread

    def spied(path, *args, **kwargs):
        read.append(opened(path, *args, **kwargs))
        return read[-1]

    monkeypatch.setattr(pydicom, "dcmread", spied)
    data = ImageFiles(data_root=scans, image_size=8, class_folders=True)
    assert read and not any("PatientName" in file or "PatientBirthDate" in file for file in read)
    torch.save(data, tmp_path / "data.pth")
    for out, size in (("whole", None), ("arrays", 8)):
        pack(scans, tmp_path / out, size=size, workers=0)
        packed = PackedDataset("train", str(tmp_path / out), image_size=8)
        own = FolderDataset("train", str(scans), image_size=8)
        assert all(torch.equal(packed[row]["inputs"], own[row]["inputs"]) for row in range(12))
        assert packed.groups.tolist() == own.groups.tolist()
    files = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and scans not in path.parents and path.name != ".lock"
    ]
    assert len(files) == 5
    for path in files:
        content = path.read_bytes()
        assert not any(word.encode() in content for word in (NAME, BIRTH, "Planted"))


def test_without_pydicom_one_sentence(scans, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("pydicom"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    Image.new("L", (8, 8)).save(scans / "one.png")
    monkeypatch.setattr(builtins, "__import__", absent)
    words = r"is a DICOM file: install pydicom \(pip install 'ssl-ext\[medical\]'\) to read it"
    for build in (ImageFiles, FolderDataset):
        with pytest.raises(ValueError, match=words):
            build("train", str(scans), image_size=8)
    with pytest.raises(ValueError, match=words):
        read_image(scans / "b/IM2")


@pytest.mark.parametrize("suffix", ["png", "tif", "dcm"])
def test_12_bits_in_16_are_reported_once(suffix, tmp_path, warnings):
    for number in range(3):
        path = tmp_path / f"{number}.{suffix}"
        if suffix == "dcm":
            save_dicom(path, RAMP, bits=16, patient=f"P{number}")
        else:
            Image.fromarray(RAMP).save(path)
    options = dict(data_root=str(tmp_path), image_size=8)
    for data in (ImageFiles, FolderDataset, ImageFiles):
        data("train", **options)
    (text,) = warnings
    assert "use 6.2% of the 16-bit range" in text and "dataset.intensity" in text
    dark.cache_clear()
    data = FolderDataset("train", **options, intensity="minmax")
    assert len(warnings) == 1 and int(data[0]["inputs"].max()) == 255
    if suffix != "dcm":
        Image.fromarray(RAMP * 2 + 3).save(tmp_path / f"1.{suffix}")
        dark.cache_clear()
        FolderDataset("train", **options)
        # An eighth of the range and more is no sign of fewer bits.
        assert len(warnings) == 1


@pytest.mark.parametrize("size", [28, 512])
@pytest.mark.parametrize("shape", [(20, 60), (61, 20), (30, 30)])
def test_padding_keeps_the_whole_image_in_the_middle(shape, size, tmp_path):
    Image.fromarray(np.full((*shape, 3), 200, np.uint8)).save(tmp_path / "a.png")
    both = [
        data("train", str(tmp_path), image_size=size, crop="pad")[0]["inputs"]
        for data in (ImageFiles, FolderDataset)
    ]
    for image in both:
        assert image.shape == (3, size, size)
        inside = (image[0] > 100).nonzero()
        sides = inside.max(0).values - inside.min(0).values + 1
        assert [
            abs(int(side) - size * part / max(shape)) <= 0.5 for side, part in zip(sides, shape, strict=True)
        ]
        margins = inside.min(0).values - (size - 1 - inside.max(0).values)
        assert margins.abs().max() <= 1
    assert (both[0].int() - both[1].int()).abs().max() <= 1
    with pytest.raises(ValueError, match=r"dataset\.crop must be one of 'center', 'pad', got 'random'"):
        ImageFiles("train", str(tmp_path), image_size=8, crop="random")


logging.getLogger("pydicom").setLevel(logging.ERROR)
