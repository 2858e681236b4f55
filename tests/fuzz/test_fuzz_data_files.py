"""Damaged data files: either read, or rejected with an error that names the file; nothing is written."""

import io
import json
import pickle
import random
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from ssl_ext.config.data import build_evaluation_splits
from ssl_ext.config.load import load_config
from ssl_ext.datasets.files import load_array
from ssl_ext.errors import UserError, user_errors
from ssl_ext.registry import DATASETS

RANDOM_CUTS, RANDOM_FLIPS = 12, 24


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def damaged(content, seed=0):
    """Truncated, changed and replaced content as (name, bytes)."""
    draw = random.Random(seed)
    yield "empty", b""
    yield "one byte", content[:1]
    yield "text", b"this is not the file you are looking for\n" * 20
    yield "zeros", bytes(len(content))
    yield "noise", draw.randbytes(len(content))
    yield "twice", content + content
    yield "headless", content[16:]
    yield "a pickle", pickle.dumps([1, 2, 3])
    yield "a web page", b"<!DOCTYPE html><html><body>404</body></html>"
    for number in range(RANDOM_CUTS):
        yield f"cut {number}", content[: draw.randrange(1, len(content))]
    for number in range(RANDOM_FLIPS):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 4, 32))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        yield f"flipped {number}", bytes(changed)


def examine(read, root, label):
    """Return True if reading succeeds; an error must name the file or the fault in one line."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    try:
        with user_errors("dataset"):
            read()
        refused = False
    except UserError as error:
        text = str(error)
        assert str(root) in text, f"{label}: {text}"
        assert "\n" not in text, f"{label}: {text}"
        assert len(text) < 800, f"{label}: {text}"
        refused = True
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    return refused


def items(settings):
    dataset = DATASETS.build(settings)
    return [dataset[index] for index in range(len(dataset))]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("ssl_ext")


def arrays(**changed):
    draw = np.random.default_rng(0)
    content = dict(x_train=draw.integers(0, 256, (6, 8, 8, 3), np.uint8), y_train=np.arange(6) % 2)
    return content | changed


def npz(compressed=False, **changed):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays(**changed))
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_bytes(tmp_path, compressed):
    path, refused = tmp_path / "a.npz", 0
    for name, content in damaged(npz(compressed)):
        path.write_bytes(content)
        refused += examine(
            lambda: items(dict(type="NPZDataset", split="train", data_root=str(path))), tmp_path, name
        )
    assert refused > 25


def header(shape, descr="|u1", version=b"\x01\x00"):
    """An ``.npy`` file of one byte whose header declares an array of a given shape."""
    text = str(dict(descr=descr, fortran_order=False, shape=shape)).encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + b"\x00"


HEADERS = {
    "huge": header((10**7, 10**7, 3)),
    "beyond 64 bits": header((10**30, 4, 4, 3)),
    "negative": header((-5, 4, 4, 3)),
    "no numbers": header(("a", 4)),
    "no tuple": header(7),
    "an object": header((1,), "|O"),
    "an unknown type": header((1,), "|z9"),
    "code": header("__import__('os').system('true')"),
    "nested": header("(" * 90),
    "another version": header((1,), version=b"\x09\x00"),
    "longer than the file": header((500, 4, 4, 3)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_npy_headers(tmp_path, name):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", HEADERS[name])
    settings = dict(type="NPZDataset", split="train", data_root=str(path))
    assert examine(lambda: items(settings), tmp_path, name)
    (tmp_path / "b.npy").write_bytes(HEADERS[name])
    assert examine(lambda: load_array(tmp_path / "b.npy"), tmp_path, name)


ARRAYS = {
    "other types": dict(x_train=np.array(["a", "b"])),
    "objects": dict(x_train=np.array([{}, []], dtype=object)),
    "16 bits": dict(x_train=np.full((6, 8, 8, 3), 256, np.uint16)),
    "bits": dict(x_train=np.zeros((6, 8, 8, 3), bool)),
    "complex": dict(x_train=np.zeros((6, 8, 8, 3), np.complex64)),
    "NaN": dict(x_train=np.full((6, 8, 8, 3), np.nan, np.float32)),
    "beyond 1": dict(x_train=np.full((6, 8, 8, 3), 255.0, np.float32)),
    "no images": dict(x_train=np.zeros((0, 8, 8, 3), np.uint8)),
    "no pixels": dict(x_train=np.zeros((6, 0, 8, 3), np.uint8)),
    "a vector": dict(x_train=np.zeros(6, np.uint8)),
    "five dimensions": dict(x_train=np.zeros((6, 8, 8, 3, 1), np.uint8)),
    "seven channels": dict(x_train=np.zeros((6, 9, 9, 7), np.uint8)),
    "too few labels": dict(y_train=np.arange(5)),
    "labels of text": dict(y_train=np.array(list("abcdef"))),
    "fractions as labels": dict(y_train=np.arange(6) / 2),
    "NaN as labels": dict(y_train=np.full(6, np.nan)),
    "negative labels": dict(y_train=np.arange(6) - 4),
    "huge labels": dict(y_train=np.full(6, 2**62)),
    "three axes of labels": dict(y_train=np.zeros((6, 2, 2), int)),
    "both styles": dict(train_images=np.zeros((6, 8, 8, 3), np.uint8)),
    "other names": dict(x_train=None, images=np.zeros(3)),
    "classes of objects": dict(classes=np.array([None, 3], dtype=object)),
    "too few classes": dict(classes=np.array(["only"])),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npz_arrays(tmp_path, name):
    content = {key: value for key, value in arrays(**ARRAYS[name]).items() if value is not None}
    np.savez(tmp_path / "a.npz", **content)
    settings = dict(type="NPZDataset", split="train", data_root=str(tmp_path / "a.npz"))
    assert examine(lambda: items(settings), tmp_path, name)


def test_pickled_objects_in_an_npz_are_not_run(tmp_path):
    marker = tmp_path / "marker"
    np.savez(tmp_path / "a.npz", x_train=np.array([Touch(marker)], dtype=object))
    assert examine(
        lambda: items(dict(type="NPZDataset", split="train", data_root=str(tmp_path / "a.npz"))), tmp_path, ""
    )
    assert not marker.exists()


def test_a_bomb_of_zeros_is_refused_by_its_header(tmp_path, monkeypatch):
    """16 MiB compressed to 16 KiB, with 8 MiB of memory."""
    np.savez_compressed(tmp_path / "a.npz", x_train=np.zeros((2**14, 16, 16, 4), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 2**15
    monkeypatch.setattr("os.sysconf", lambda name: 2**23 if name == "SC_PHYS_PAGES" else 1)
    settings = dict(type="NPZDataset", split="train", data_root=str(tmp_path / "a.npz"))
    with pytest.raises(UserError, match=r"takes 16777216 bytes, but the memory has 8388608"):
        items(settings)


def image(suffix, size=(9, 7)):
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def png_of(width, height):
    """A PNG whose header declares this size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\x00" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "jpeg", "bmp", "tiff", "webp", "ppm"])
@pytest.mark.filterwarnings("ignore")
def test_image_bytes(tmp_path, suffix):
    refused = 0
    path = tmp_path / f"a.{suffix}"
    settings = dict(type="FolderDataset", data_root=str(tmp_path), image_size=4)
    for name, content in damaged(image(suffix)):
        path.write_bytes(content)
        refused += examine(lambda: items(settings), tmp_path, name)
    assert refused > 8


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 5), (2**31 - 1, 1)], ids=str)
def test_images_of_impossible_sizes(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png_of(*size))
    assert examine(
        lambda: items(dict(type="FolderDataset", data_root=str(tmp_path), image_size=4)), tmp_path, ""
    )
    assert examine(
        lambda: items(dict(type="ImageFiles", data_root=str(tmp_path), image_size=4)), tmp_path, ""
    )


def test_an_image_that_is_removed_later_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(image("png"))
    dataset = DATASETS.build(dict(type="FolderDataset", data_root=str(tmp_path), image_size=4))
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png: was removed"):
        dataset[0]


def test_a_damaged_image_in_a_worker_is_one_sentence(tmp_path, capsys):
    from ssl_ext.errors import run_tool

    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(image("png")[: None if number else 40])
    dataset = DATASETS.build(dict(type="FolderDataset", data_root=str(tmp_path), image_size=4))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=1)
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: list(loader))
    assert ended.value.code == 2
    assert re.fullmatch(r"error: .*0\.png: cannot be decoded as an image: .*\n", capsys.readouterr().err)


CSVS = {
    "empty": b"",
    "no columns": b"a,b\n1,2\n",
    "no lines": b"file,label\n",
    "no such file": b"file,label\nnowhere.png,1\n",
    "outside": b"file,label\n../../../etc/passwd,1\n",
    "twice": b"file,label\na.png,1\na.png,2\n",
    "other split": b"file,label,split\na.png,1,somewhere\n",
    "no UTF-8": b"file,label\n\xff\xfe.png,1\n",
    "NUL": b"file,label\na\x00.png,1\n",
    "one long field": b"file,label\n" + b"a" * 200_000 + b",1\n",
    "binary": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("name", CSVS)
def test_csv_files(tmp_path, name):
    (tmp_path / "a.png").write_bytes(image("png"))
    (tmp_path / "labels.csv").write_bytes(CSVS[name])
    settings = dict(
        type="ImageFiles",
        data_root=str(tmp_path),
        image_size=4,
        labels_file=str(tmp_path / "labels.csv"),
    )
    assert examine(lambda: items(settings), tmp_path, name)


XML = """<annotation><filename>a.png</filename><size><width>7</width><height>9</height></size>
<object><name>red</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>
<ymax>5</ymax></bndbox></object></annotation>"""
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "'
    + "ha" * 50
    + '">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
    + XML.replace("red", "&j;")
)
XMLS = {
    "expanding entities": LAUGHS,
    "an outside entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    + XML.replace("red", "&x;"),
    "another root": "<html/>",
    "no name": XML.replace("<name>red</name>", ""),
    "no box": XML.replace("bndbox", "box"),
    "text as a corner": XML.replace("<xmin>1<", "<xmin>one<"),
    "infinite": XML.replace("<xmin>1<", "<xmin>1e999<"),
    "NaN": XML.replace("<xmin>1<", "<xmin>nan<"),
    "many digits": XML.replace("<width>7<", f"<width>{'9' * 5000}<"),
    "other class": XML.replace("red", "green"),
    "outside": XML.replace("<xmax>5<", "<xmax>500<"),
    "turned round": XML.replace("<xmax>5<", "<xmax>-3<"),
    "another size": XML.replace("<width>7<", "<width>70<"),
    "difficult": XML.replace("<difficult>0<", "<difficult>maybe<"),
}


@pytest.fixture
def annotated(tmp_path):
    (tmp_path / "a.png").write_bytes(image("png"))
    return tmp_path


def test_voc_annotations(annotated):
    settings = dict(type="VOCDetection", data_root=str(annotated), classes=("red",))
    (annotated / "a.xml").write_text(XML)
    assert len(items(settings)) == 1
    refused = 0
    for name, content in damaged(XML.encode()):
        (annotated / "a.xml").write_bytes(content)
        refused += examine(lambda: items(settings), annotated, name)
    assert refused > 25
    for name, text in XMLS.items():
        (annotated / "a.xml").write_text(text)
        assert examine(lambda: items(settings), annotated, name), name


COCO = dict(
    images=[dict(id=1, file_name="a.png", height=9, width=7)],
    categories=[dict(id=3, name="red")],
    annotations=[dict(id=1, image_id=1, category_id=3, bbox=[1, 1, 4, 4])],
)
LEAVES = [None, "x", -1, 0, 10**400, float("nan"), [], {}, [[1]], True, 1e308]


def json_mutations():
    for part in COCO:
        for value in (*LEAVES, [None], ["x"], [3], [[]], [{}]):
            yield f"{part} {value!r:.20}", COCO | {part: value}
        for key in COCO[part][0]:
            for value in LEAVES:
                yield f"{part}.{key} {value!r:.20}", COCO | {part: [COCO[part][0] | {key: value}]}
            entry = {name: kept for name, kept in COCO[part][0].items() if name != key}
            yield f"{part} without {key}", COCO | {part: [entry]}
    for value in LEAVES:
        box = COCO["annotations"][0] | dict(bbox=[value, 1, 4, 4])
        yield f"bbox {value!r:.20}", COCO | dict(annotations=[box])


def test_coco_annotations(annotated):
    path = annotated / "a.json"
    settings = dict(type="CocoDetection", data_root=str(annotated), annotation_file="a.json")
    path.write_text(json.dumps(COCO))
    assert len(items(settings)) == 1
    refused = 0
    cases = [*damaged(json.dumps(COCO).encode()), ("deep", b"[" * 100_000)]
    cases += [(name, json.dumps(content).encode()) for name, content in json_mutations()]
    for name, content in cases:
        path.write_bytes(content)
        refused += examine(lambda: items(settings), annotated, name)
    assert len(cases) > 200 and refused > 150


def test_splits_without_labels_or_tests_name_the_config_key(tmp_path, tiny_config):
    np.savez(tmp_path / "a.npz", **arrays())
    tiny_config.evaluation_dataset = dict(type="NPZDataset", data_root=str(tmp_path / "a.npz"))
    with pytest.raises(UserError, match="evaluation_dataset has the splits .*'train'"):
        build_evaluation_splits(load_config(tiny_config))
