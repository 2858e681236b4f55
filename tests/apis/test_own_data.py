"""Shipped configs retargeted in a few lines to a user's images, outside the checkout."""

import csv
import re
import warnings

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from ssl_ext.apis import evaluate, export, load_config, pretrain
from ssl_ext.errors import UserError

SIZE, TRAIN, TEST = 24, 32, 12
# One config of each family.
METHODS = {
    "trimix": "trimix/trimix_resnet18_1xb256-adam-200e_cifar10.py",
    "amix": "amix/amix_resnet18_1xb100-sgd-800e_cifar100.py",
    "amix-i": "amix_ssl/amix-i_resnet18_1xb256-sgd-400e_stl10.py",
    "jaccard-simclr": "jaccard/jaccard-simclr_resnet50_1xb512-adam-500e_cifar10.py",
    "jaccard-moco": "jaccard/jaccard-moco_resnet50_1xb512-adam-500e_cifar10.py",
    "tribyol": "tribyol/tribyol_resnet18_1xb256-adam-200e_cifar10.py",
    "simclr-medical": "medical/simclr-nov_resnet18_1xb256-adamw-2000e_bloodmnist.py",
    "odc": "odc/odc_resnet18_1xb256-sgd-200e_tiny-imagenet.py",
    "pirl": "pirl/pirl-jigsaw_resnet18_1xb256-adam-200e_cifar10.py",
}
CLASSES = ("benign", "malignant", "unsure")
# The lines that name the data: training images, and images with labels.
DATA = {
    "classes": """
files = dict(_delete_=True, type="FolderDataset", data_root="{root}/classes", image_size=24, test_share=0.3)
train_dataloader = dict(batch_size=16, dataset=files)
evaluation_dataset = files
""",
    "images": """
files = dict(_delete_=True, type="FolderDataset", data_root="{root}/images", image_size=24)
train_dataloader = dict(batch_size=16, dataset=files)
evaluation_dataset = None
""",
    "npz": """
evaluation_dataset = dict(_delete_=True, type="NPZDataset", data_root="{root}/own.npz")
train_dataloader = dict(batch_size=16, dataset=dict(**evaluation_dataset, split="train"))
""",
    "csv": """
files = dict(_delete_=True, type="ImageFiles", data_root="{root}/images", image_size=24)
evaluation_dataset = dict(**files, labels_file="{root}/own.csv")
train_dataloader = dict(batch_size=16, dataset=evaluation_dataset)
""",
}
# For a test of seconds.
SHORT = {"model.backbone.base_channels": 8, "model.backbone.stem_channels": 8, "train_cfg.max_epochs": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with the same images of three classes (a bright channel each) in four forms."""
    folder = tmp_path_factory.mktemp("own")
    images = np.random.default_rng(0).integers(0, 40, (TRAIN + TEST, SIZE, SIZE, 3), np.uint8)
    labels = np.arange(len(images)) % len(CLASSES)
    images[np.arange(len(images)), :, :, labels] = 255
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        for inside in (f"classes/{CLASSES[label]}", "images"):
            (folder / inside).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / inside / f"{number:02}.png")
        rows.append([f"{number:02}.png", CLASSES[label], "train" if number < TRAIN else "test"])
    with open(folder / "own.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "split"], *rows])
    split = dict(x_train=images[:TRAIN], y_train=labels[:TRAIN], x_test=images[TRAIN:], y_test=labels[TRAIN:])
    np.savez(folder / "own.npz", **split)
    return folder


def train(lines, folder):
    """Train the config of these lines; return the sentences that say which key to set."""
    path = folder / "own.py"
    path.write_text(lines)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pretrain(path, work_dir=folder / "run", options=dict(SHORT), overwrite=True)
        except UserError as error:
            return [str(error)]
    return [text for text in map(str, (w.message for w in caught)) if re.search(r": set \w", text)]


def corrected(sentences):
    """Return the lines of a config that set what the sentences say."""
    settings = Config()
    for key, value in re.findall(r": set ([\w.]+)=(.+?)(?:, which .*)?\.(?:\n|$)", "\n".join(sentences)):
        settings.merge_from_dict({key: eval(value)})
    return "".join(f"{key} = {value!r}\n" for key, value in settings.to_dict().items())


def pairs():
    """Every method with every form of data; quick are one form for each method, and all four forms."""
    for number, method in enumerate(METHODS):
        for place, data in enumerate(DATA):
            quick = place == number % len(DATA)
            yield pytest.param(method, data, id=f"{method}-{data}", marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("method", "data"), pairs())
def test_a_shipped_config_on_own_images(method, data, root, tmp_path):
    lines = f'_base_ = "ssl_ext::{METHODS[method]}"{DATA[data].format(root=root)}'
    sentences = train(whole := lines, tmp_path)
    if method == "amix" and data == "images":
        assert "44 of 44 training images have no label; a classifier needs all" in sentences[0]
        return
    # Each sentence corrects what it names; nothing is left after them.
    said = []
    while sentences:
        assert not set(said) & set(sentences), sentences
        said += sentences
        sentences = train(whole := lines + corrected(said), tmp_path)
    assert len(whole.splitlines()) <= 10
    assert any("head.num_classes=3" in text for text in said) == (method == "amix")
    assert any("num_clusters=2" in text for text in said) == (method == "odc")
    assert any("data_preprocessor=dict(mean=" in text for text in said) == (method != "simclr-medical")
    assert any("type='ResNet_CIFAR'" in text for text in said) == (method in ("amix-i", "simclr-medical"))
    checkpoint = tmp_path / "run/epoch_1.pth"
    config = load_config(tmp_path / "own.py", {key: SHORT[key] for key in SHORT if "model" in key})
    asked = dict(protocols=["quality"]) if data == "images" else dict(protocols=["knn"], baselines=["pixels"])
    row, *pixels = evaluate(config, checkpoint, **asked)
    # Three tenths of each class of 15, 15 and 14 images are drawn for test.
    assert row.sizes["train"] == {"classes": 44 - 12, "images": 44}.get(data, TRAIN)
    if pixels:
        assert pixels[0].last["acc"] == 1 and row.sizes["test"] == TEST
    export(checkpoint, to="safetensors")
    assert list((tmp_path / "run/export").glob("*.safetensors"))
