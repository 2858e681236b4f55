"""Predictions of a kept classifier for folders, CSV and NPZ files, and its export with the head."""

import csv
import importlib
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from ssl_ext.apis import evaluate, export, load_classifier, predict
from ssl_ext.cli.predict import main
from ssl_ext.datasets import Digits, FolderDataset, ImageFiles
from ssl_ext.errors import UserError
from ssl_ext.evaluation import Predictions
from ssl_ext.evaluation.calibration import entropy, tempered

module = importlib.import_module("ssl_ext.apis.predict")
TASKS = {"multi-class": 10, "binary": 2, "multi-label": 3}


@pytest.fixture(params=TASKS)
def trained(request, tiny_config, tmp_path):
    """A kept classifier of 8 px digits, its row, its stored scores and its test images."""
    arrays, task = {}, request.param
    for split, count in dict(train=200, val=60, test=40).items():
        digits = Digits("test" if split == "test" else "train", image_size=8)
        rows = slice(200, 260) if split == "val" else slice(count)
        labels = digits.labels[rows].numpy()
        if task == "binary":
            labels = labels % 2
        if task == "multi-label":
            labels = np.stack([labels % 2, labels > 4, labels == 0], axis=1).astype(np.int64)
        arrays |= {f"x_{split}": digits.images[rows].numpy(), f"y_{split}": labels}
    np.savez(tmp_path / "digits.npz", **arrays)
    tiny_config.evaluation_dataset = dict(
        type="NPZDataset", data_root=str(tmp_path / "digits.npz"), layout="NCHW", task=task
    )
    settings = dict(steps=20, batch_size=32, lr=3e-3, evaluations=2, augment=None)
    options = {"evaluation.finetune": settings}
    (row,) = evaluate(
        tiny_config, None, protocols=["supervised"], save=True, out_dir=tmp_path / "o", device="cpu",
        options=options,
    )  # fmt: skip
    stored = Predictions.load(tmp_path / "o" / row.predictions)
    return tmp_path / "o" / row.saved, stored, torch.from_numpy(arrays["x_test"])


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_of_every_source_are_those_of_the_evaluation(trained, tmp_path, capsys):
    path, stored, images = trained
    classifier = load_classifier(path, "cpu")
    assert "missing 0" in capsys.readouterr().out
    task, names = classifier.task, classifier.classes
    (tmp_path / "images" / "more").mkdir(parents=True)
    files = [f"more/{number:02}.png" if number % 2 else f"{number:02}.png" for number in range(40)]
    for name, image in zip(files, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "images" / name)
    (tmp_path / "images" / "list.csv").write_text("file\n" + "\n".join(files))
    np.savez(tmp_path / "unlabelled.npz", x_test=images.numpy(), x_train=images[:2].numpy())
    sources = (tmp_path / "images", tmp_path / "images" / "list.csv", tmp_path / "unlabelled.npz")
    found = []
    for number, source in enumerate(sources):
        out = predict(path, source, out=tmp_path / f"{number}.csv", batch_size=16, device="cpu")
        lines = read(out)
        assert len(lines) == 40
        by_name = {line["file"]: line for line in lines} if number == 0 else lines
        found.append([by_name[name] for name in files] if number == 0 else lines)
    said = f"Temperature {classifier.calibration.temperature:.3g}: "
    assert classifier.about["temperature"].startswith(said) and said in capsys.readouterr().out
    columns = [name for name in found[0][0] if name.startswith("p(")]
    assert len(columns) == (1 if task == "binary" else TASKS[task])
    values = torch.tensor([[[float(line[name]) for name in columns] for line in part] for part in found])
    temperature = classifier.calibration.temperature
    expected = tempered(torch.from_numpy(stored.test["best"].values), temperature, task)
    for part, lines in zip(values, found, strict=True):
        torch.testing.assert_close(part.double(), expected, atol=2e-3, rtol=0)  # stored as float16 log-odds
        for line, predicted in zip(lines, stored.test["best"].predicted, strict=True):
            if task == "multi-label":
                assert line["decision"] == "|".join(n for n, one in zip(names, predicted, strict=True) if one)
            else:
                assert line["decision"] == names[predicted]
        spread = [float(line["entropy"]) for line in lines]
        assert spread == pytest.approx(entropy(part.double(), task).tolist(), abs=1e-3)
    limits = torch.tensor(classifier.calibration.thresholds)
    above = [[name for name, one in zip(columns, row, strict=True) if one] for row in values[0] > limits]
    assert [line["above_threshold"] for line in found[0]] == [
        "|".join(name[2:-1] for name in one) for one in above
    ]
    noise = torch.randint(0, 256, (40, 3, 8, 8)).to(torch.uint8)
    assert classifier.predict(noise).distance.median() > classifier.predict(images).distance.median()
    ranks = np.array([float(line["distance_rank"]) for line in found[0]])
    assert ranks.min() >= 0 and ranks.max() <= 1 and 0.2 < ranks.mean() < 0.8


def test_the_whole_classifier_in_onnx(trained, tmp_path):
    path, _, images = trained
    report = export(path, "onnx", out=tmp_path / "whole.onnx", head=True)
    assert report.about["training"] == "supervised, all labels, custom" and report.about["checked_at"] == 8
    session = onnxruntime.InferenceSession(tmp_path / "whole.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": ((images / 255 - 0.5) / 0.5).numpy()})
    printed = {}
    exec("\n".join(report.code), printed)
    assert printed["probabilities"].shape == (1, found.shape[1])
    classifier = load_classifier(path, "cpu")
    np.testing.assert_allclose(found, classifier.predict(images).calibrated.numpy(), atol=1e-4)
    with pytest.raises(UserError, match="--head is for --to onnx"):
        export(path, "timm", head=True)


@pytest.mark.parametrize("trained", ["binary"], indirect=True)
def test_files_are_read_as_in_training(trained, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    files = [f"{number}.png" for number in range(3)]
    for name in files:
        Image.fromarray(np.random.randint(0, 256, (20, 31, 3), np.uint8)).save(tmp_path / "images" / name)
    for kind in (ImageFiles, FolderDataset):
        known = kind("train", str(tmp_path / "images"), image_size=8)
        classifier = replace(load_classifier(trained[0], "cpu"), dataset=dict(type=kind.__name__))
        key, names, dataset = module._images(classifier, tmp_path / "images", None, "test")
        assert (key, names) == ("file", files)
        for row in range(3):
            assert torch.equal(dataset[row]["inputs"], known[row]["inputs"])
    # Names that a spreadsheet would run are escaped.
    (tmp_path / "images" / "0.png").rename(tmp_path / "images" / "=0.png")
    classifier = replace(classifier, classes=("-a", "@b"))
    classifier.calibration.thresholds[:] = [0.0]
    monkeypatch.setattr(module, "load_classifier", lambda *_: classifier)
    lines = read(predict(trained[0], tmp_path / "images", out=tmp_path / "out.csv"))
    assert sorted(line["file"] for line in lines) == ["'=0.png", "1.png", "2.png"]
    assert {line["decision"] for line in lines} <= {"'-a", "'@b"}
    assert {line["above_threshold"] for line in lines} == {"'@b"}


@pytest.mark.parametrize("trained", ["binary"], indirect=True)
def test_held_out_images_are_not_their_own_reference(trained, tiny_config, tmp_path):
    """Without a validation split the network is refitted on all 200 images."""
    with np.load(tmp_path / "digits.npz") as content:
        np.savez(tmp_path / "two.npz", **{key: content[key] for key in content if "val" not in key})
    tiny_config.evaluation_dataset.data_root = str(tmp_path / "two.npz")
    options = {"evaluation.finetune": dict(steps=2, batch_size=32, lr=3e-3, evaluations=2, augment=None)}
    (row,) = evaluate(
        tiny_config, None, protocols=["supervised"], save=True, out_dir=tmp_path / "two", device="cpu",
        options=options,
    )  # fmt: skip
    calibration = load_classifier(tmp_path / "two" / row.saved, "cpu").calibration
    assert len(calibration.bank) + len(calibration.distances) == 200


@pytest.mark.parametrize("trained", ["binary"], indirect=True)
def test_bad_sources_are_one_sentence(trained, tmp_path):
    path, _, images = trained
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("file\nno.png\n")
    (tmp_path / "other.csv").write_text("name\nno.png\n")
    (tmp_path / "outside.csv").write_text("file\n../no.png\n")
    np.savez(tmp_path / "large.npz", x_test=np.zeros((2, 3, 9, 9), np.uint8))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.png").write_bytes(b"no image")
    for source, words in {
        "empty": "holds no images",
        "list.csv": "1 of 1 files are missing",
        "other.csv": "no column 'file'",
        "outside.csv": r"line 2: file '\.\./no.png' is outside the folder of the images.*\(--data-root\)",
        "large.npz": r"its images are \(3, 9, 9\), but the classifier takes \(3, 8, 8\)",
        "damaged": "a.png.*cannot be decoded",
    }.items():
        with pytest.raises(UserError, match=words):
            predict(path, tmp_path / source, out=tmp_path / "out.csv", device="cpu")
    with pytest.raises(UserError, match="takes one MODEL and one SOURCE, but there are 3 paths: name one"):
        main([str(path), str(path), str(tmp_path / "empty")])
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(UserError, match="exists: give another --out, or --overwrite"):
        predict(path, tmp_path / "digits.npz", out=tmp_path / "out.csv", device="cpu")
    predict(path, tmp_path / "digits.npz", out=tmp_path / "out.csv", device="cpu", overwrite=True)
    assert len(read(tmp_path / "out.csv")) == len(images)
