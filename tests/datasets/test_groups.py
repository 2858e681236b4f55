"""Groups of images (patients, lesions, slides) in every kind of file."""

import numpy as np
import pytest
from dicom_files import save_dicom
from medmnist import INFO
from PIL import Image

from ssl_ext.datasets import ArrayDataset, ImageFiles, MedMNIST, NPZDataset, groups

IMAGES = np.zeros((4, 3, 8, 8), np.uint8)
GREY = np.zeros((4, 8, 8), np.uint8)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(groups, "print_log", lambda line, **_: lines.append(line))
    return lines


def table(folder, *lines):
    for name in "abcd":
        Image.new("L", (8, 8)).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text("\n".join(lines))
    return dict(data_root=folder, image_size=8, labels_file=folder / "labels.csv")


@pytest.mark.parametrize(
    "given",
    [["p1", "p1", "p2", "p 3"], np.array([b"p1", b"p1", b"p2", b"p 3"]), np.array([[4], [4], [5], [6]])],
)
def test_groups_are_one_string_for_each_image(given):
    found = ArrayDataset(IMAGES, groups=given).groups
    assert found.dtype.kind == "U" and found.shape == (4,)
    expected = np.asarray(given).reshape(-1)
    assert found.tolist() == [v.decode() if isinstance(v, bytes) else str(v) for v in expected.tolist()]
    assert ArrayDataset(IMAGES).groups is None


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (["a", "b"], ValueError, r"shape \(4,\), one name for each image, got \(2,\)"),
        ([0.5, 1, 2, 3], TypeError, "strings or integers, got float64"),
        (["a", "b", " ", "c"], ValueError, r"image 2 \(counted from 0\) has an empty name"),
    ],
)
def test_bad_groups_are_named(given, error, words):
    with pytest.raises(error, match=words):
        ArrayDataset(IMAGES, groups=given)


def test_a_column_of_a_table_and_a_column_of_another_name(tmp_path, said):
    lines = [
        "file,label,split,group,lesion_id",
        "b.png,1,train,p2,l9",
        "a.png,0,test,p1,l8",
        "c.png,1,train,p3,l9",
    ]
    options = table(tmp_path, *lines)
    train, test = ImageFiles("train", **options), ImageFiles("test", **options)
    assert (train.groups.tolist(), test.groups.tolist()) == (["p2", "p3"], ["p1"])
    assert ImageFiles("train", **options, group="lesion_id").groups.tolist() == ["l9", "l9"]
    with pytest.raises(ValueError, match="no column 'patient', only file, label, .*dataset.group"):
        ImageFiles("train", **options, group="patient")
    assert not said
    with pytest.raises(ValueError, match="names a group for some files only"):
        ImageFiles("train", **table(tmp_path, "file,label,group", "a.png,1,p1", "b.png,0,"))


GROUPS = ("patient", "Patient ID", "lesion_ids", "StudyInstanceUID", "caseNo", "slide_name", "subject")


@pytest.mark.parametrize(
    ("name", "warned"),
    [(name, True) for name in GROUPS] + [(name, False) for name in ("casing", "age", "study_date")],
)
def test_a_column_that_looks_like_groups_is_warned_of_once(name, warned, tmp_path, said):
    options = table(tmp_path, f"file,label,split,{name}", "a.png,0,train,1", "b.png,1,test,1")
    for split in ("train", "test"):
        assert ImageFiles(split, **options).groups is None
    assert len(said) == warned
    if warned:
        assert f"{name!r} is not used" in said[0] and f"set group={name!r}" in said[0]
        assert said[0].count(". ") == 0


def test_a_drawn_test_split_takes_whole_groups(tmp_path):
    """Ten patients of three images: six with class well, four with both classes."""
    names = [f"{patient}-{image}.png" for patient in range(10) for image in range(3)]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / name)
    both = {"0", "1", "2", "3"}
    lines = [f"{n},{'ill' if n[0] in both and n[2] != '0' else 'well'},{n[0]}" for n in names]
    options = dict(data_root=tmp_path, image_size=8, labels_file=tmp_path / "labels.csv", test_share=0.25)
    drawn = []
    for order in (lines, lines[::-1]):
        (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *order]))
        train, test = ImageFiles("train", **options), ImageFiles("test", **options)
        drawn.append(set(test.groups))
        assert not drawn[-1] & set(train.groups) and len(train) + len(test) == 30
        # A quarter of four and of six: a patient of both classes counts for the rarer one.
        assert len(test) == 9 and len(drawn[-1] & both) == 1
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("images", "key"), [("{}_images", "{}_{}"), ("x_{}", "{1}_{0}")])
def test_arrays_of_a_file(images, key, tmp_path, said):
    path = tmp_path / "mine.npz"
    content = {images.format(split): GREY for split in ("train", "test")}
    labels = {
        images.format(s).replace("images", "labels").replace("x_", "y_"): [0, 1, 0, 1]
        for s in ("train", "test")
    }
    patients = {key.format("train", "patients"): [1, 1, 2, 2], key.format("test", "patients"): list("xxyz")}
    np.savez(path, **content, **labels, **patients)
    assert NPZDataset("train", path).groups is None and NPZDataset("test", path).groups is None
    (line,) = said
    assert repr(key.format("train", "patients")) in line and "group='patients'" in line
    assert NPZDataset("train", path, group="patients").groups.tolist() == ["1", "1", "2", "2"]
    assert NPZDataset("test", path, group="patients").groups.tolist() == list("xxyz")
    np.savez(path, **content, **labels, **{key.format("train", "groups"): [1, 1, 2, 2]})
    with pytest.raises(
        ValueError, match=f"no array '{key.format('test', 'groups')}': all splits have groups"
    ):
        NPZDataset("train", path)
    np.savez(path, **content, **labels, **{key.format(s, "groups"): [1, 1, 2] for s in ("train", "test")})
    with pytest.raises(ValueError, match=r"mine.npz: split 'train': groups must have shape \(4,\)"):
        NPZDataset("train", path)


def test_arrays_of_a_medmnist_file(tmp_path, said):
    classes = len(INFO["breastmnist"]["label"])
    content = {}
    for number, split in enumerate(("train", "val", "test")):
        content[f"{split}_images"] = np.zeros((4, 28, 28), np.uint8)
        content[f"{split}_labels"] = (np.arange(4) % classes)[:, None].astype(np.uint8)
        content[f"{split}_patient"] = np.arange(4) // 2 + 10 * number
    np.savez(tmp_path / "breastmnist.npz", **content)
    options = dict(data_root=str(tmp_path), as_rgb=False)
    assert MedMNIST("breastmnist", "val", **options).groups is None
    assert "group='patient'" in said[-1]
    assert MedMNIST("breastmnist", "val", **options, group="patient").groups.tolist() == [
        "10",
        "10",
        "11",
        "11",
    ]


def test_unlisted_images_of_unknown_groups_are_refused(tmp_path):
    for name in ("p1_1", "p1_2", "p3_1", "p3_7"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    lines = ["file,label,split,pid", "p1_1.png,a,train,p1", "p1_2.png,b,train,p1", "p3_1.png,a,test,p3"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    given = dict(data_root=tmp_path, image_size=8, labels_file=tmp_path / "table.csv", group="pid")
    with pytest.raises(ValueError, match="unlisted=True: the pid of 'p3_7.png', which .* does not list"):
        ImageFiles("train", **given, unlisted=True)
    (tmp_path / "p3_7.png").unlink()
    assert list(ImageFiles("train", **given, unlisted=True).files) == ["p1_1.png", "p1_2.png"]


@pytest.mark.parametrize("known", [True, False])
def test_unlisted_dicom_files_have_their_patients_as_groups(known, tmp_path):
    for number, patient in enumerate(["A", "B", "B", "C"]):
        save_dicom(tmp_path / f"{number}.dcm", np.full((8, 8), number, np.uint16), patient=patient)
    names = "AB" if known else "ab"
    lines = ["file,label,split,pid", f"0.dcm,x,train,{names[0]}", f"1.dcm,y,test,{names[1]}"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    given = dict(data_root=tmp_path, image_size=8, labels_file=tmp_path / "table.csv", unlisted=True)
    if known:
        # 2.dcm is of the test patient B.
        assert list(ImageFiles("train", **given, group="pid").files) == ["0.dcm", "3.dcm"]
    else:
        with pytest.raises(ValueError, match="unlisted=True: the pid of '2.dcm'"):
            ImageFiles("train", **given, group="pid")
