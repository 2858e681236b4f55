"""VOC and COCO annotations: parsing, and errors on construction."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

import ssl_ext.detection.dataset
from ssl_ext.detection import VOC_CLASSES, CocoDetection, VOCDetection, collate_detection
from ssl_ext.registry import DATASETS

WIDTH, HEIGHT = 20, 12
CLASSES = ("cell", "platelet")


def box_xml(name="cell", corners=(1, 1, WIDTH, HEIGHT), difficult="<difficult>0</difficult>"):
    tags = ("xmin", "ymin", "xmax", "ymax")
    inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners, strict=True))
    return f"<object><name>{name}</name>{difficult}<bndbox>{inside}</bndbox></object>"


def write_image(path, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size[::-1], 3), np.uint8)
    pixels[..., 0] = 200
    Image.fromarray(pixels).save(path)


def write_voc(folder, name, *objects, size=(WIDTH, HEIGHT), split="train", image=True, filename=None):
    """Write one image, its annotation and its line in the split."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    xml = f"<annotation><filename>{filename or name + '.jpg'}</filename>{told}{''.join(objects)}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(xml)
    if image:
        write_image(folder / "JPEGImages" / (filename or f"{name}.jpg"))
    with open(folder / "ImageSets" / "Main" / f"{split}.txt", "a") as file:
        file.write(f"{name}\n")


def samples(dataset):
    return [dataset[row]["data_samples"] for row in range(len(dataset))]


def test_an_item_of_voc(tmp_path):
    hard = "<difficult>1</difficult>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    write_voc(
        tmp_path,
        "a",
        box_xml("platelet", (3, 2, 5, 7)).replace("</object>", f"{part}</object>"),
        box_xml("cell", (1, 1, WIDTH, HEIGHT), hard),
        box_xml("cell", ("4.5", "2.25", "9.75", " 8 "), ""),
    )
    init_default_scope("ssl_ext")
    settings = dict(type="VOCDetection", data_root=str(tmp_path), splits="train", classes=list(CLASSES))
    dataset = DATASETS.build(settings)
    assert dataset.metainfo == dict(classes=CLASSES, channels=3)
    item = dataset[0]
    assert item["inputs"].dtype == torch.uint8 and item["inputs"].shape == (3, HEIGHT, WIDTH)
    assert (item["inputs"][0].float().mean() - 200).abs() < 5 and item["inputs"][1:].float().mean() < 5
    found = item["data_samples"]
    # VOC's pixels 1 to W, both inside, are the edges 0 to W.
    expected = torch.tensor([[2.0, 1, 5, 7], [0, 0, WIDTH, HEIGHT], [3.5, 1.25, 9.75, 8]])
    torch.testing.assert_close(found["boxes"], expected, rtol=0, atol=0)
    assert torch.equal(found["labels"], torch.tensor([1, 0, 0]))
    assert torch.equal(found["difficult"], torch.tensor([False, True, False]))
    assert (found["image_id"], found["size"]) == (0, (HEIGHT, WIDTH))
    found["boxes"] += 1  # in-place changes to a sample do not affect the data set
    torch.testing.assert_close(dataset[0]["data_samples"]["boxes"], expected, rtol=0, atol=0)
    easy = VOCDetection(tmp_path, "train", classes=CLASSES, keep_difficult=False)[0]["data_samples"]
    torch.testing.assert_close(easy["boxes"], expected[[0, 2]], rtol=0, atol=0)
    assert torch.equal(easy["labels"], torch.tensor([1, 0])) and not easy["difficult"].any()


def test_years_are_joined_in_order(tmp_path):
    for year, names in ((2007, "ba"), (2012, "c")):
        for name in names:
            write_voc(
                tmp_path / "VOCdevkit" / f"VOC{year}", f"{year}_{name}", box_xml("dog"), split="trainval"
            )
    splits = [("2007", "trainval"), (2012, "trainval")]
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        dataset = VOCDetection(root, splits)
        assert [record.image.stem for record in dataset.records] == ["2007_b", "2007_a", "2012_c"]
        assert [sample["image_id"] for sample in samples(dataset)] == [0, 1, 2]
        assert dataset[2]["data_samples"]["labels"].item() == VOC_CLASSES.index("dog")
    with pytest.raises(ValueError, match=r"2007_b.jpg occurs 2 times .*dataset.splits"):
        VOCDetection(tmp_path, [splits[0], splits[0]])
    with pytest.raises(FileNotFoundError, match=r"VOC2010\. give a folder with VOC2007"):
        VOCDetection(tmp_path, [("2010", "trainval")])
    with pytest.raises(FileNotFoundError, match=r"VOC2007/ImageSets/Main/test.txt\. splits there: trainval"):
        VOCDetection(tmp_path, [("2007", "test")])
    with pytest.raises(ValueError, match=r"\(year, name\) pairs, got \('2007', 'a', 'b'\)"):
        VOCDetection(tmp_path, [("2007", "a", "b")])


def test_files_without_splits_and_other_image_names(tmp_path):
    write_voc(tmp_path, "b", box_xml())
    write_voc(tmp_path, "a", box_xml(), split="val", filename="photo 7.png")
    write_voc(tmp_path, "c", box_xml(), size=(0, 0), split="val")
    assert len(VOCDetection(tmp_path, "train", classes=CLASSES)) == 1
    assert len(VOCDetection(tmp_path, ["train", "val"], classes=CLASSES)) == 3
    everything = VOCDetection(tmp_path, classes=CLASSES)
    assert [record.image.name for record in everything.records] == ["photo 7.png", "b.jpg", "c.jpg"]
    # Images and annotations in one folder.
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("Annotations/b.xml", "JPEGImages/b.jpg"):
        (tmp_path / name).rename(flat / name.split("/")[1])
    assert len(VOCDetection(flat, classes=CLASSES)) == 1
    with pytest.raises(ValueError, match="ImageSets: has no .xml files"):
        VOCDetection(tmp_path / "ImageSets", classes=CLASSES)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        VOCDetection(tmp_path / "nowhere")


def stems(dataset):
    return [record.image.stem for record in dataset.records]


def test_a_foreign_set_by_its_folder_alone(tmp_path):
    """Its classes are the annotated names; its splits are drawn, whatever the order of the files."""
    for number in range(20):
        write_voc(tmp_path, f"s{number % 5}_{number}", box_xml("yeast" if number else "alga"))
    shutil.rmtree(tmp_path / "ImageSets")
    train, test = (VOCDetection(tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("alga", "yeast")
    assert (len(train), len(test)) == (16, 4) and not {*stems(train)} & {*stems(test)}
    assert train.groups is None
    assert stems(VOCDetection(tmp_path, "trainval")) == stems(train)
    hashes = sorted(stems(train) + stems(test), key=lambda name: hashlib.sha256(name.encode()).digest())
    assert {*hashes[:4]} == {*stems(test)}
    # An image more moves at most one other from one split to the other.
    write_voc(tmp_path, "more", box_xml("yeast"))
    shutil.rmtree(tmp_path / "ImageSets")
    assert len({*stems(VOCDetection(tmp_path, "test"))} ^ {*stems(test)}) <= 2
    for path in tmp_path.glob("*/more.*"):
        path.rename(path.with_stem(os.fsdecode(b"caf\xe9")))
    half = VOCDetection(tmp_path, "test", test_share=0.5)
    assert len(half) == 10 and {*stems(test)} <= {*stems(half)} | {"more"}
    with pytest.raises(FileNotFoundError, match="splits there: none"):
        VOCDetection(tmp_path, "val")


def test_drawn_splits_never_divide_a_group(tmp_path):
    for number in range(20):
        write_voc(tmp_path, f"s{number % 5}_{number}", box_xml())
    shutil.rmtree(tmp_path / "ImageSets")
    options = dict(group=r"s(\d)_", test_share=0.4)
    train, test = (VOCDetection(tmp_path, split, **options) for split in ("train", "test"))
    assert len({*train.groups}) == 3 and len({*test.groups}) == 2 and not {*train.groups} & {*test.groups}
    for dataset in (train, test):
        assert dataset.groups.tolist() == [stem[1] for stem in stems(dataset)]
    with pytest.raises(ValueError, match=r"s0_0.xml: its name does not match 'x\+' .*dataset.group"):
        VOCDetection(tmp_path, "train", group="x+")
    with pytest.raises(ValueError, match="has one image or group only"):
        VOCDetection(tmp_path, "train", group="s")
    with pytest.raises(ValueError, match="dataset.test_share is 1.5; it must be between 0 and 1"):
        VOCDetection(tmp_path, "train", test_share=1.5)


@pytest.mark.parametrize("flat", [False, True])
def test_a_folder_for_each_split(tmp_path, flat):
    for split, names in (("train", "ab"), ("valid", "c"), ("test", "d")):
        for name in names:
            write_voc(tmp_path / split, name, box_xml("dog" if name == "a" else "newt"))
        shutil.rmtree(tmp_path / split / "ImageSets")
        if flat:
            for path in [*(tmp_path / split).rglob("*.xml"), *(tmp_path / split).rglob("*.jpg")]:
                path.rename(tmp_path / split / path.name)
            for part in ("Annotations", "JPEGImages"):
                (tmp_path / split / part).rmdir()
    for split, names in (("train", "ab"), ("trainval", "ab"), ("val", "c"), ("test", "d")):
        dataset = VOCDetection(tmp_path, split)
        assert stems(dataset) == [*names] and dataset.classes == ("dog", "newt")
    assert stems(VOCDetection(tmp_path, ["train", "val"])) == ["a", "b", "c"]
    assert VOCDetection(tmp_path / "train", classes=["newt", "dog"]).classes == ("newt", "dog")


def test_images_without_boxes(tmp_path):
    write_voc(tmp_path, "a")
    write_voc(tmp_path, "b", box_xml(difficult="<difficult>1</difficult>"))
    write_voc(tmp_path, "c", box_xml("platelet"), box_xml("cell"))
    options = dict(splits="train", classes=CLASSES)
    empty = VOCDetection(tmp_path, **options)[0]["data_samples"]
    assert empty["boxes"].shape == (0, 4) and empty["boxes"].dtype == torch.float32
    assert empty["labels"].shape == (0,) and empty["labels"].dtype == torch.int64
    assert empty["difficult"].shape == (0,) and empty["difficult"].dtype == torch.bool
    without = VOCDetection(tmp_path, **options, keep_empty=False)
    assert [sample["image_id"] for sample in samples(without)] == [1, 2]
    assert len(VOCDetection(tmp_path, **options, keep_empty=False, keep_difficult=False)) == 1
    options["classes"] = ["platelet"]
    assert len(VOCDetection(tmp_path, **options, keep_empty=False, ignore_other_classes=True)) == 1
    options["classes"] = ["fungus"]
    with pytest.raises(ValueError, match="no images with boxes are left of 3 .*dataset.keep_empty"):
        VOCDetection(tmp_path, **options, keep_empty=False, ignore_other_classes=True)


def test_an_unknown_class(tmp_path):
    write_voc(tmp_path, "a", box_xml("cell"))
    write_voc(tmp_path, "b", box_xml("cell"), box_xml("fungus"), box_xml("dirt"), box_xml("fungus"))
    message = (
        r"b\.xml: class 'fungus' is none of cell, platelet; objects of other classes: 'dirt' \(1\), "
        r"'fungus' \(2\) \(config keys: dataset.classes, or dataset.ignore_other_classes=True"
    )
    with pytest.raises(ValueError, match=message):
        VOCDetection(tmp_path, "train", classes=CLASSES)
    known = VOCDetection(tmp_path, "train", classes=CLASSES, ignore_other_classes=True)
    assert [len(sample["labels"]) for sample in samples(known)] == [1, 1]


@pytest.mark.parametrize("classes", ["cell", [], ["cell", "cell"]])
def test_bad_classes(tmp_path, classes):
    write_voc(tmp_path, "a", box_xml("cell"))
    with pytest.raises(ValueError, match="must be different names .config key: dataset.classes"):
        VOCDetection(tmp_path, "train", classes=classes)


def test_boxes_over_the_border_are_cut(tmp_path):
    # Two pixels are clipped silently: other tools count from 0, or round up.
    write_voc(tmp_path, "a", box_xml(corners=(0, -1, WIDTH + 2, HEIGHT + 1)))
    sample = VOCDetection(tmp_path, "train", classes=CLASSES)[0]["data_samples"]
    torch.testing.assert_close(sample["boxes"], torch.tensor([[0.0, 0, WIDTH, HEIGHT]]))


@pytest.mark.parametrize(
    ("corners", "fault", "repaired"),
    [
        ((5, 5, WIDTH + 3, 8), "5, 5, 23, 8 of a 'cell' exceeds the image of 20 × 12", [4, 4, 20, 8]),
        ((-2, 5, 9, 8), "exceeds the image", [0, 4, 9, 8]),
        ((30, 5, 40, 8), "exceeds the image", None),
        ((7, 5, 7, 8), "7, 5, 7, 8 of a 'cell' has no area", None),
        ((5, 8, 9, 8), "has no area", None),
        ((9, 5, 5, 8), "has no area", None),
        ((WIDTH + 1, 5, WIDTH + 2, 8), "has no area", None),
    ],
)
def test_bad_boxes(tmp_path, corners, fault, repaired):
    write_voc(tmp_path, "a", box_xml(corners=(2, 2, 4, 4)), box_xml(corners=corners))
    options = dict(splits="train", classes=CLASSES)
    with pytest.raises(ValueError, match=rf"Annotations/a\.xml: the box .*{fault}.* .*dataset.repair_boxes"):
        VOCDetection(tmp_path, **options)
    boxes = VOCDetection(tmp_path, **options, repair_boxes=True)[0]["data_samples"]["boxes"]
    expected = [[1.0, 1, 4, 4]] + [repaired] * (repaired is not None)
    torch.testing.assert_close(boxes, torch.tensor(expected))


def test_bad_boxes_are_counted(tmp_path, monkeypatch):
    for name in "ab":
        write_voc(tmp_path, name, box_xml(corners=(7, 5, 7, 8)), box_xml())
    with pytest.raises(ValueError, match=r"a\.xml: .*; 2 such boxes in all"):
        VOCDetection(tmp_path, "train", classes=CLASSES)
    lines = []
    monkeypatch.setattr(ssl_ext.detection.dataset, "print_log", lambda line, **_: lines.append(line))
    VOCDetection(tmp_path, "train", classes=CLASSES, repair_boxes=True)
    assert (
        len(lines) == 1 and lines[0].startswith("repaired: ") and lines[0].endswith("; 2 such boxes in all")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object>", "is not well-formed XML"),
        ("", "is not well-formed XML"),
        ("<?xml version='1.0' encoding='no-such'?><annotation/>", "is not well-formed XML"),
        ("<html></html>", "is not a VOC annotation: its root element is <html>"),
        ("<annotation><object/></annotation>", "object 1 has no <name>"),
        (
            "<annotation><object><name>cell</name></object></annotation>",
            r"object 1 \('cell'\) has an incomplete <bndbox>: xmin=None",
        ),
        (f"<annotation>{box_xml(corners=(1, 'x', 3, 4))}</annotation>", "incomplete <bndbox>: .*ymin='x'"),
        (f"<annotation>{box_xml(corners=(1, 'nan', 3, 4))}</annotation>", "<bndbox>: .*ymin='nan'"),
        (
            f"<annotation>{box_xml()}{box_xml(difficult='<difficult>yes</difficult>')}</annotation>",
            r"object 2 \('cell'\): <difficult> must be 0 or 1, got 'yes'",
        ),
        (
            "<annotation><size><width>wide</width></size></annotation>",
            r"<size> does not hold integers: height, width = \[None, 'wide'\]",
        ),
    ],
)
def test_broken_xml(tmp_path, content, message):
    write_voc(tmp_path, "a", box_xml())
    write_voc(tmp_path, "b", box_xml())
    (tmp_path / "Annotations" / "b.xml").write_text(content)
    with pytest.raises(ValueError, match=rf"Annotations/b\.xml: .*{message}"):
        VOCDetection(tmp_path, "train", classes=CLASSES)


def test_missing_and_damaged_files(tmp_path):
    options = dict(splits="train", classes=CLASSES)
    write_voc(tmp_path, "a", box_xml(), image=False)
    with pytest.raises(FileNotFoundError, match=r"image: nothing found at .*JPEGImages/a\.jpg.*a\.xml"):
        VOCDetection(tmp_path, **options)
    write_image(tmp_path / "JPEGImages" / "a.jpg", (WIDTH, HEIGHT + 1))
    with pytest.raises(
        ValueError, match=r"a\.xml: is for an image of 20 × 12 pixels, but .*a\.jpg has 20 × 13"
    ):
        VOCDetection(tmp_path, **options)
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.jpg: cannot be read as an image"):
        VOCDetection(tmp_path, **options)
    (tmp_path / "Annotations" / "a.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"Annotations/a\.xml\. the split lists it"):
        VOCDetection(tmp_path, **options)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train\.txt: lists no images"):
        VOCDetection(tmp_path, **options)


def coco(**changes):
    return dict(
        dict(
            images=[
                dict(id=70, file_name="b.jpg", width=WIDTH, height=HEIGHT),
                dict(id=3, file_name="a.jpg"),
            ],
            categories=[dict(id=9, name="platelet"), dict(id=4, name="cell")],
            annotations=[
                dict(id=1, image_id=3, category_id=9, bbox=[1, 2, 3, 4.5], iscrowd=1),
                dict(id=2, image_id=3, category_id=4, bbox=[0, 0, WIDTH, HEIGHT]),
            ],
        ),
        **changes,
    )


def build_coco(folder, content, **options):
    (folder / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
    for name in ("a.jpg", "b.jpg"):
        write_image(folder / "images" / name)
    return CocoDetection(folder, "instances.json", "images", **options)


def test_items_of_coco(tmp_path):
    dataset = build_coco(tmp_path, coco())
    assert dataset.metainfo == dict(classes=CLASSES, channels=3)
    empty, full = samples(dataset)
    assert (empty["image_id"], full["image_id"], len(empty["boxes"])) == (70, 3, 0)
    expected = torch.tensor([[1.0, 2, 4, 6.5], [0, 0, WIDTH, HEIGHT]])
    torch.testing.assert_close(full["boxes"], expected)
    assert torch.equal(full["labels"], torch.tensor([1, 0]))
    assert torch.equal(full["difficult"], torch.tensor([True, False]))
    turned = build_coco(tmp_path, coco(), classes=["platelet", "cell"], keep_empty=False)
    assert torch.equal(turned[0]["data_samples"]["labels"], torch.tensor([0, 1]))
    one = build_coco(tmp_path, coco(), classes=["cell"], ignore_other_classes=True)
    torch.testing.assert_close(one[1]["data_samples"]["boxes"], expected[1:])
    batch = collate_detection([dataset[0], dataset[1]])
    assert [image.shape for image in batch["inputs"]] == [(3, HEIGHT, WIDTH)] * 2
    assert [sample["image_id"] for sample in batch["data_samples"]] == [70, 3]


IMAGE = dict(id=3, file_name="a.jpg")
ENTRY = dict(id=1, image_id=3, category_id=9, bbox=[1, 2, 3, 4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "json' is not a file in COCO"),
        ("[]", "an object is needed, not"),
        (dict(images=[], annotations=[]), "it lacks categories"),
        (coco(images=[IMAGE, IMAGE]), r"images\[1\] cannot be read: id 3 is not an integer or occurs twice"),
        (coco(images=[dict(id=3)]), r"images\[0\] cannot be read: it has no 'file_name'"),
        (
            coco(annotations=[dict(ENTRY, image_id=5)]),
            r"annotations\[0\] .*image_id 5 or category_id 9 is not",
        ),
        (coco(annotations=[ENTRY, dict(ENTRY, bbox=[1, 2, 3])]), r"annotations\[1\] cannot be read"),
        (coco(annotations=[dict(ENTRY, bbox=[1, 2, 3, float("nan")])]), "is not finite"),
        (coco(annotations=[dict(ENTRY, bbox=[1, 2, 0, 4])]), "'a.jpg': the box 1, 2, 0, 4 .* has no area"),
        (coco(annotations=[dict(ENTRY, bbox=[1, 2, 30, 4])]), "'a.jpg': the box .* exceeds the image"),
        (coco(images=[dict(IMAGE, width=5, height=6)]), "'a.jpg': is for an image of 5 × 6 pixels"),
    ],
)
def test_bad_coco_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        build_coco(tmp_path, content)


def test_missing_files_and_unknown_classes_of_coco(tmp_path):
    message = r"no category 'fungus'; it has platelet, cell \(config key: dataset.classes"
    with pytest.raises(ValueError, match=message):
        build_coco(tmp_path, coco(), classes=["cell", "fungus"])
    with pytest.raises(
        ValueError, match=r"'a.jpg': class 'platelet' is none of cell; .*ignore_other_classes"
    ):
        build_coco(tmp_path, coco(), classes=["cell"])
    with pytest.raises(FileNotFoundError, match=r"gone\.json.*dataset.annotation_file"):
        CocoDetection(tmp_path, "gone.json")
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"images/a\.jpg.*instances\.json"):
        CocoDetection(tmp_path, "instances.json", "images")
