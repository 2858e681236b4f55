"""Labels of CSV files: separators, several findings an image, missing labels, and tasks."""

import numpy as np
import pytest
from PIL import Image

from ssl_ext.datasets import ImageFiles
from ssl_ext.datasets.test_share import drawn_for_test


@pytest.fixture
def read(tmp_path):
    for name in "abcdef":
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 9).save(tmp_path / "images" / f"{name}.png")

    def build(text, split="train", **options):
        (tmp_path / "own.csv").write_text(text)
        settings = dict(data_root=tmp_path / "images", image_size=8, labels_file=tmp_path / "own.csv")
        return ImageFiles(split, **settings, **options)

    return build


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(separator, read):
    lines = ["file,label,split", 'a.png,"mass, left",train', "b.png,none here,train"]
    if separator == ",":
        text = "\n".join(lines)
    else:
        text = (
            "\n".join(lines).replace('"mass, left"', "mass| left").replace(",", separator).replace("|", ",")
        )
    assert read(text).classes == ("mass, left", "none here")


def test_several_findings_in_one_column(read):
    text = (
        "file,label,split\na.png,effusion|mass,train\nb.png,No Finding,train\nc.png,,train\nd.png,mass,train"
    )
    data = read(text, task="multi-label")
    assert (data.classes, data.task) == (("effusion", "mass"), "multi-label")
    assert data.labels.tolist() == [[1, 1], [0, 0], [-1, -1], [0, 1]]
    with pytest.raises(
        ValueError, match=r"line 2: .*set task='multi-label' or task='multi-class'.*dataset\.task"
    ):
        read(text)
    assert read(text, task="multi-class").classes == ("No Finding", "effusion|mass", "mass")


def test_a_column_for_each_finding(read):
    text = "file,split,mass,effusion,age\na.png,train,1,0,33\nb.png,train,1.0,1,40\n"
    text += "c.png,train,-1,1,2\nd.png,train,0,,9"
    with pytest.raises(
        ValueError, match=r"no column 'label'.*set label=\['mass', 'effusion'\] for one column a"
    ):
        read(text)
    data = read(text, label=["mass", "effusion"])
    assert (data.classes, data.task) == (("mass", "effusion"), "multi-label")
    assert data.labels.tolist() == [[1, 0], [1, 1], [-1, -1], [-1, -1]]
    with pytest.raises(ValueError, match="line 2: 'age' is '33'; allowed are 0, 1, and -1"):
        read(text, label=["mass", "age"])
    with pytest.raises(ValueError, match="line 3 has not exactly one class: set task='multi-label'"):
        read(text, label=["mass", "effusion"], task="multi-class")


def test_one_class_an_image_in_columns_is_a_choice(read):
    text = "file,split,mel,nv\na.png,train,1,0\nb.png,train,0,1"
    with pytest.raises(ValueError, match="exactly one of mel, nv: set task='multi-class' .*'multi-label'"):
        read(text, label=["mel", "nv"])
    assert read(text, label=["mel", "nv"], task="multi-class").labels.tolist() == [0, 1]
    assert read(text, label=["mel", "nv"], task="multi-label").labels.tolist() == [[1, 0], [0, 1]]


def test_ordinal_and_missing_labels(read):
    text = "file,grade,split\na.png,10,train\nb.png,-1,train\nc.png,2,train\nd.png,,train"
    data = read(text, label="grade", task="ordinal")
    assert (data.classes, data.task, data.labels.tolist()) == (("2", "10"), "ordinal", [1, -1, 0, -1])
    with pytest.raises(ValueError, match="task='ordinal' needs numbers as labels.*'mild'"):
        read(text.replace("10", "mild"), label="grade", task="ordinal")
    with pytest.raises(ValueError, match="task must be one of"):
        read(text, label="grade", task="several")


def test_images_that_are_not_listed(read):
    text = "file,label,split\na.png,x,train\nb.png,y,test"
    data = read(text, unlisted=True)
    assert list(data.files) == ["a.png", "c.png", "d.png", "e.png", "f.png"]
    assert data.labels.tolist() == [0, -1, -1, -1, -1] and list(read(text, "test").files) == ["b.png"]
    with pytest.raises(ValueError, match="need a CSV file"):
        ImageFiles("train", data.files.root or ".", image_size=8, unlisted=True)


def test_a_class_of_one_image_is_reported_and_trained_on(read, monkeypatch):
    lines = []
    monkeypatch.setattr("ssl_ext.datasets.labels.print_log", lambda text, **_: lines.append(text))
    rows = [f"{name}.png,{'rare' if name == 'a' else 'usual'}" for name in "abcdef"]
    assert "a.png" in read("\n".join(["file,label", *rows]), test_share=0.9).files
    assert "classes with one labelled image, which cannot be both learned and tested: rare" in lines[0]


def test_no_class_is_wholly_tested():
    """Groups of rarer classes hold all images of another class."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        units = [f"u{number}" for number in rng.integers(0, 6, 20)]
        labels = [tuple(f"c{number}" for number in {*rng.integers(0, 5, 2)}) for _ in units]
        drawn = drawn_for_test(units, labels, 0.6)
        trained = {name for unit, one in zip(units, labels, strict=True) if unit not in drawn for name in one}
        assert trained == {name for one in labels for name in one}
