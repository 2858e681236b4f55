"""Photos turned by EXIF, links, pipes, names that are not UTF-8, and numbers of several types."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ssl_ext.datasets import FolderDataset, ImageFiles, NPZDataset
from ssl_ext.datasets.decode import EXTENSIONS, Reading, open_image, read_image, upright_size
from ssl_ext.datasets.listing import image_names
from ssl_ext.detection import CocoDetection, VOCDetection
from ssl_ext.evaluation import dataset_fingerprint

ORIENTATION = 0x0112
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def save(path, orientation=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    Image.fromarray(PIXELS).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_read_upright(orientation, suffix, tmp_path):
    path = save(tmp_path / f"a.{suffix}", orientation)
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(expected))
    with open_image(path) as image:
        assert upright_size(image) == (expected.height, expected.width)
    assert (expected.width, expected.height) == ((8, 12) if orientation > 4 else (12, 8))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_turns_nothing(value, tmp_path):
    assert read_image(save(tmp_path / "a.jpg", value)).size == (12, 8)


def test_damaged_exif_data_do_not_make_an_image_unreadable(tmp_path):
    for number, exif in enumerate((b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"x" * 50)):
        path = save(tmp_path / f"{number}.jpg", exif=exif)
        assert read_image(path).size == (12, 8)


def test_boxes_are_those_of_the_upright_image(tmp_path):
    save(tmp_path / "a.jpg", 6)
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>12</ymax></bndbox>"
    size = "<size><width>{}</width><height>{}</height></size>"
    xml = f"<annotation>{size}<object><name>a</name>{{}}</object></annotation>"
    (tmp_path / "a.xml").write_text(xml.format(8, 12, box))
    sample = VOCDetection(tmp_path, classes=("a",))[0]
    assert sample["inputs"].shape == (3, 12, 8) and sample["data_samples"]["size"] == (12, 8)
    assert sample["data_samples"]["boxes"].tolist() == [[0, 1, 8, 12]]
    coco = dict(
        images=[dict(id=1, file_name="a.jpg", height=12, width=8)],
        categories=[dict(id=1, name="a")],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 1, 8, 11])],
    )
    (tmp_path / "a.json").write_text(json.dumps(coco))
    sample = CocoDetection(tmp_path, "a.json")[0]
    assert sample["inputs"].shape == (3, 12, 8)
    assert sample["data_samples"]["boxes"].tolist() == [[0, 1, 8, 12]]
    (tmp_path / "a.xml").write_text(xml.format(12, 8, box))
    with pytest.raises(ValueError, match="8 × 12 .upright, by its EXIF orientation."):
        VOCDetection(tmp_path, classes=("a",))


def test_a_loop_of_links_is_walked_once(tmp_path):
    for name in ("a/1.png", "b/2.png", "b/deep/3.png"):
        save(tmp_path / name)
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b" / "deep" / "self").symlink_to(".")
    (tmp_path / "b" / "root").symlink_to(tmp_path)
    assert image_names(tmp_path) == ["a/1.png", "b/2.png", "b/deep/3.png"]
    assert FolderDataset(data_root=str(tmp_path), image_size=8).labels.tolist() == [0, 1, 1]
    assert len(ImageFiles(data_root=tmp_path, image_size=8)) == 3


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path):
    save(tmp_path / "store" / "x" / "1.png")
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x").symlink_to(tmp_path / "store" / "x")
    (tmp_path / "data" / "a" / "2.png").symlink_to(tmp_path / "store" / "x" / "1.png")
    assert image_names(tmp_path / "data") == ["a/2.png", "a/x/1.png", "b/x/1.png"]


@pytest.mark.parametrize("name", ["a/gone.png", "gone", "a/deep/gone.txt", "a/itself.png"])
def test_a_broken_link_is_reported(name, tmp_path):
    for image in ("a/1.png", "a/deep/2.png"):
        save(tmp_path / image)
    (tmp_path / name).symlink_to((tmp_path / name).name if "itself" in name else "nowhere")
    words = "cannot be read: Too many levels" if "itself" in name else "is a broken link to 'nowhere'"
    for build in (FolderDataset, ImageFiles):
        with pytest.raises(ValueError, match=f"{name}: {words}"):
            build(data_root=str(tmp_path), image_size=8)


@pytest.mark.timeout(20)
def test_a_pipe_with_the_name_of_an_image_is_no_image(tmp_path):
    save(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    with pytest.raises(ValueError, match=r"2\.png: is a pipe or a device"):
        FolderDataset(data_root=str(tmp_path), image_size=8)
    with pytest.raises(ValueError, match="is a pipe or a device"):
        read_image(tmp_path / "2.png")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        read_image("/dev/zero")
    (tmp_path / "2.xml").write_text("<annotation><filename>2.png</filename></annotation>")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        VOCDetection(tmp_path, classes=("a",))
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(FileNotFoundError, match="is a pipe or a device"):
        ImageFiles(data_root=tmp_path, image_size=8, labels_file=str(tmp_path / "labels.csv"))
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="is a pipe or a device"):
        NPZDataset("train", str(tmp_path / "a.npz"))


def test_names_that_are_not_utf8(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    save(tmp_path / "a" / f"{odd}.png")
    save(tmp_path / odd / "1.png")
    data = FolderDataset(data_root=str(tmp_path), image_size=8)
    assert [os.path.basename(file) for file in data.files] == [f"{odd}.png", "1.png"]
    assert data.classes == ("a", r"caf\xe9")
    assert torch.equal(data[0]["inputs"], data[1]["inputs"])
    before = dataset_fingerprint(data)
    os.rename(tmp_path / "a" / f"{odd}.png", tmp_path / "a" / os.fsdecode(b"caf\xe8.png"))
    assert dataset_fingerprint(FolderDataset(data_root=str(tmp_path), image_size=8)) != before
    assert len(ImageFiles(data_root=tmp_path, image_size=8)) == 2
    (tmp_path / odd / "1.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"caf\\xe9/1\.png: cannot be decoded") as raised:
        data[1]
    str(raised.value).encode()


def test_a_detection_set_with_names_that_are_not_utf8(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    save(tmp_path / f"{odd}.png")
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    (tmp_path / f"{odd}.xml").write_text(f"<annotation><object><name>a</name>{box}</object></annotation>")
    assert VOCDetection(tmp_path, classes=("a",))[0]["inputs"].shape == (3, 8, 12)
    with pytest.raises(ValueError, match=r"caf\\xe9\.xml: class 'a' is none of b") as raised:
        VOCDetection(tmp_path, classes=("b",))
    str(raised.value).encode()


def npz(tmp_path, images):
    np.savez(tmp_path / "a.npz", x_train=images)
    return NPZDataset("train", str(tmp_path / "a.npz")).images


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_integers_from_0_to_255_of_any_dtype(dtype, tmp_path):
    top = 127 if dtype == "i1" else 255
    values = np.linspace(0, top, 6 * 4 * 4).astype(np.uint8).reshape(6, 4, 4)
    assert np.array_equal(npz(tmp_path, values.astype(dtype))[:, 0].numpy(), values)
    with pytest.raises(ValueError, match="integer images must lie in 0 to 255, got values from -1 to"):
        npz(tmp_path, values.astype(dtype) - 1 if "u" not in dtype else values.astype("i8") - 1)


@pytest.mark.parametrize(("dtype", "error"), [("f2", 1e-3), ("f4", 1e-6), ("f8", 1e-12), ("f4", 5e-4)])
def test_floats_a_rounding_error_outside_0_to_1(dtype, error, tmp_path):
    values = np.array([-error, 0, 0.5, 1, 1 + error, 1], dtype).reshape(6, 1, 1).repeat(4, 1).repeat(4, 2)
    assert npz(tmp_path, values)[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]
    with pytest.raises(ValueError, match="float images must lie in"):
        npz(tmp_path, values + np.array(0.01, dtype))


def test_grey_tiff_of_32_bits_up_to_255(tmp_path):
    values = np.arange(0, 256, 4, dtype=np.int32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif", Reading(1))), values)
    Image.fromarray(values * 257).save(tmp_path / "b.tif")
    assert np.array_equal(np.asarray(read_image(tmp_path / "b.tif", Reading(1))), values)
    # A dark image of 16 bits stays dark.
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "c.png")
    assert np.asarray(read_image(tmp_path / "c.png", Reading(1))).max() == 1


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
XML = f"<annotation><filename>{{}}.jpg</filename><object><name>a</name>{BOX}</object></annotation>"


@pytest.mark.parametrize(
    ("annotations", "images", "root"),
    [
        ("annotations", "images", ""),
        ("ANNOTATIONS", "Images", ""),
        ("Annotations", "jpegimages", ""),
        ("annotations", "images", "annotations"),
        ("Annotations", "JPEGImages", "Annotations"),
        (".", "images", ""),
        ("annotations", ".", ""),
    ],
)
def test_voc_folders_of_other_names(annotations, images, root, tmp_path):
    for name in ("r0", "r1"):
        save(tmp_path / images / f"{name}.jpg")
        (tmp_path / annotations).mkdir(exist_ok=True)
        (tmp_path / annotations / f"{name}.xml").write_text(XML.format(name))
    if images == ".":
        for name in ("r0", "r1"):
            (tmp_path / f"{name}.jpg").rename(tmp_path / annotations / f"{name}.jpg")
    (tmp_path / "imagesets" / "main").mkdir(parents=True)
    (tmp_path / "imagesets" / "main" / "train.txt").write_text("r1\n")
    data = VOCDetection(tmp_path / root, classes=("a",))
    assert [record.image.name for record in data.records] == ["r0.jpg", "r1.jpg"]
    assert all(record.image.suffix in EXTENSIONS for record in data.records)
    if not root:
        assert len(VOCDetection(tmp_path, "train", classes=("a",))) == 1


def test_vocs_own_names_come_first(tmp_path):
    for folder, count in (("Annotations", 1), ("annotations", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number}.xml").write_text(XML.format(number))
    save(tmp_path / "JPEGImages" / "0.jpg")
    # A folder of other images does not hide those beside the annotations.
    save(tmp_path / "images" / "other.jpg")
    data = VOCDetection(tmp_path, classes=("a",))
    assert [record.image.parent.name for record in data.records] == ["JPEGImages"]
