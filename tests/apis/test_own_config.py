"""``ssl-ext train METHOD --data IMAGES``: the written config fits the images and the machine."""

import csv
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ssl_ext import pretrain
from ssl_ext.apis import evaluate, load_config
from ssl_ext.cli.train import main
from ssl_ext.config.data import build_train_loader, monitored_splits
from ssl_ext.config.epochs import set_epochs
from ssl_ext.config.methods import METHODS
from ssl_ext.config.networks import build_model
from ssl_ext.config.own_config import own_config
from ssl_ext.config.training import check_training, training_config
from ssl_ext.engine import write_checkpoint
from ssl_ext.errors import UserError

SHORT = ["--cfg-options", "train_cfg.max_epochs=1", "default_hooks.checkpoint.interval=1"]


def save(path, colour, size=(30, 26)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 60, (*size, 3), np.uint8)
    pixels[..., colour % 3] = 200
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder with images in several forms, larger images, and files of labels."""
    root = tmp_path_factory.mktemp("images")
    for number in range(40):
        save(root / f"plain/{number:02}.png", number)
        save(root / f"classes/{'abc'[number % 3]}/{number:02}.png", number)
        save(root / f"splits/{'test' if number > 30 else 'train'}/{'ab'[number % 2]}/{number:02}.png", number)
        save(root / f"large/{'ab'[number % 2]}/{number:02}.png", number, (150, 250))
    for name, count in (("plain", 40), ("plain/some", 12)):
        rows = [[f"{number:02}.png", "abc"[number % 3]] for number in range(count)]
        with open(root / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([["file", "label"], *rows])
    pixels = np.random.default_rng(0).integers(0, 255, (60, 28, 28), np.uint8)
    labels = np.arange(60) % 4
    np.savez(
        root / "grey.npz", x_train=pixels[:40], y_train=labels[:40], x_test=pixels[40:], y_test=labels[40:]
    )
    np.savez(root / "unlabelled.npz", train_images=pixels)
    return root


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("method", "data", "protocol"),
    [
        ("trimix", "classes", "knn"),
        ("moco", "plain", "quality"),
        ("amix", "grey.npz", "knn"),
        ("byol", "plain/some.csv", "knn"),
    ],
)
def test_it_trains_is_edited_and_trains_again(method, data, protocol, images, caplog):
    main([method, "--data", str(images / data), *SHORT])
    path = Path(f"work_dirs/{method}_{Path(data).stem}.py")
    assert (path.with_suffix("") / "epoch_1.pth").is_file()
    path.write_text(path.read_text().replace("base_channels=16", "base_channels=8"))
    main([str(path), "--overwrite", *SHORT])
    config = load_config(path)
    assert config.model.backbone.base_channels == 8 and config.model.backbone.type == "ResNet_CIFAR"
    (row,) = evaluate(config, path.with_suffix("") / "epoch_1.pth", protocols=[protocol])
    assert row.source["dataset"]["data_root"].startswith(str(images))
    head = path.read_text().partition("_base_")[0]
    assert f"ssl-ext evaluate {path} {path.with_suffix('')}" in head and "epoch_" not in head
    # An edited config is not replaced.
    with pytest.raises(UserError, match=rf"'{path}' exists, .*train it \(ssl-ext train {path}\)"):
        main([method, "--data", str(images / data), *SHORT])


@pytest.mark.parametrize("door", ["command", "python"])
def test_a_run_that_exists_is_refused_before_the_config_is_written(door, images):
    run = Path("runs/one")
    run.mkdir(parents=True)
    write_checkpoint(dict(meta=dict(epoch=1, iter=1), state_dict={}), run / "epoch_1.pth")
    with pytest.raises(UserError, match=r"Work dir 'runs/one' has checkpoints of a run"):
        if door == "command":
            main(["simclr", "--data", str(images / "plain"), "--work-dir", str(run)])
        else:
            pretrain("simclr", images / "plain", work_dir=run)
    assert not Path("work_dirs").exists()
    path = own_config("simclr", images / "plain", run, overwrite=True)
    before = path.stat().st_mtime_ns
    assert own_config("simclr", images / "plain", run, resume=True) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("method", METHODS)
def test_a_config_of_every_method_fits_without_a_warning(method, images):
    config = training_config(own_config(method, images / "grey.npz"))
    assert config.filename.endswith(f"{method}_grey.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader, splits, model = build_train_loader(config), monitored_splits(config), build_model(config)
        check_training(config, loader, model)
        model.set_dataset_size(len(loader.dataset))
    assert splits.train.num_classes == 4 and len(loader) == 2
    # 2,000 steps on a CPU.
    assert len(loader) * config.train_cfg.max_epochs == 2000
    schedules = config.to_dict().get("param_scheduler")
    set_epochs(config, config.train_cfg.max_epochs)
    assert config.to_dict().get("param_scheduler") == schedules  # they end with the training


@pytest.mark.parametrize(
    ("data", "settings", "note"),
    [
        (
            "classes",
            dict(type="ImageFiles", image_size=26, class_folders=True, test_share=0.3),
            "3 classes: a, b, c.",
        ),
        ("splits", dict(type="ImageFiles", image_size=26, class_folders=True), "2 classes: a, b."),
        ("plain", dict(type="ImageFiles", image_size=26), "No classes"),
        (
            "large",
            dict(type="ImageFiles", image_size=64, class_folders=True, test_share=0.3),
            "have 150 px",
        ),
        ("plain.csv", dict(type="ImageFiles", image_size=26, labels_file="plain.csv"), "3 classes: a, b, c."),
        (
            "plain/some.csv",
            dict(type="ImageFiles", image_size=26),
            "used, without labels, those of test among them",
        ),
        ("grey.npz", dict(type="NPZDataset", as_rgb=True), "4 classes"),
        ("unlabelled.npz", dict(type="NPZDataset", as_rgb=True), "No classes"),
    ],
)
def test_the_form_of_the_images_decides_the_data_set(data, settings, note, images):
    text = own_config("simclr", images / data).read_text()
    config = Config.fromfile(own_config("simclr", images / data))
    written = {
        key: value for key, value in config.files.to_dict().items() if key not in ("_delete_", "data_root")
    }
    if "labels_file" in settings:
        settings = {**settings, "labels_file": str(images / settings["labels_file"])}
    assert written == settings and note in text.partition("_base_")[0]
    assert (config.evaluation_dataset is None) == (data in ("plain", "unlabelled.npz"))
    if data == "plain/some.csv":
        assert config.evaluation_dataset.labels_file == str(images / data)


def test_given_test_images_are_not_trained_on(images, tmp_path):
    lines = [(n, "b|a"[: 1 + 2 * (n % 2)], "test" if n > 8 else "train") for n in range(14)]
    rows = ["file;finding;split", *(f"{n:02}.png;{label};{split}" for n, label, split in lines)]
    (images / "plain/given.csv").write_text("\n".join(rows))
    options = dict(label="finding", task="multi-label", crop="pad")
    path = own_config("simclr", images / "plain/given.csv", options=options)
    text, config = path.read_text(), load_config(path)
    assert "14 of 40 images are listed: the others are used without labels." in text
    assert (
        "Training leaves out the images of test." in text
        and "2 labels: a, b." in text
        and "35 training images" in text
    )
    loader, splits = build_train_loader(config), monitored_splits(config)
    assert len(loader.dataset) == 35 and not {*loader.dataset.files} & {f"{n:02}.png" for n in range(9, 14)}
    assert (splits.train.task, len(splits.train)) == ("multi-label", 9)
    assert config.evaluation_dataset.crop == config.train_dataloader.dataset.crop == "pad"
    with pytest.raises(UserError, match="set task='multi-label' or task='multi-class'"):
        own_config("simclr", images / "plain/given.csv", options=dict(label="finding"))
    # Absolute paths from another folder.
    (tmp_path / "far.csv").write_text(
        "\n".join(["file,label", *(f"{images}/plain/{n:02}.png,{n % 2}" for n in range(39))])
    )
    with pytest.raises(UserError, match=rf"is not in '.*': give .* --data-options data_root={images}/plain"):
        own_config("simclr", tmp_path / "far.csv")
    path = own_config("simclr", tmp_path / "far.csv", options=dict(data_root=f"{images}/plain"))
    assert load_config(path).files.data_root == f"{images}/plain"
    assert "1 of 40 images are not listed, and left out." in path.read_text()
    (images / "plain/given.csv").unlink()


def test_images_of_unknown_patients_are_left_out(images, tmp_path):
    split = {"p0": "train", "p1": "test"}
    lines = [f"{n:02}.png,{'ab'[n % 2]},{split[who]},{who}" for n in range(18) for who in [f"p{n > 15:d}"]]
    (images / "plain/patients.csv").write_text("\n".join(["file,label,split,pid", *lines]))
    path = own_config("simclr", images / "plain/patients.csv", options=dict(group="pid"))
    note = "18 of 40 images are listed: the others are left out, because their pid is not known"
    assert note in path.read_text() and "images are of 1 group." in path.read_text()
    loader = build_train_loader(load_config(path))
    assert set(loader.dataset.files) == {f"{n:02}.png" for n in range(16)}
    (images / "plain/patients.csv").unlink()


@pytest.mark.parametrize(
    "name",
    [
        b"a\nraise SystemExit(1) #", b"a\rraise SystemExit(1) #", b"{{$HOME:x}}{{_base_.x}}{{{fileDirname}}}",
        b"caf\xe9", b'"\\{{$HOME:x}}\\\xe9\xe2\x80\xa8', b"coding=utf-7",
    ],
)  # fmt: skip
def test_names_are_text(name, tmp_path, caplog):
    folder = tmp_path / os.fsdecode(name)
    for number in range(40):
        save(folder / f"{os.fsdecode(name)}{number % 2}" / f"{number}.png", number)
    run = tmp_path / "runs" / folder.name
    path = own_config("simclr", folder, run)
    assert own_config("simclr", folder, run) == path
    config = load_config(path)
    assert config.files.data_root == str(folder) and len(build_train_loader(config).dataset) == 28
    assert "raise" not in {line.partition(" ")[0] for line in path.read_text().splitlines()}


def test_a_gpu_gets_larger_images_and_batches_and_the_full_width(images, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    config = Config.fromfile(own_config("trimix", images / "large"))
    backbone = config.model.backbone
    # 28 images of two classes; shorter sides of 150 px.
    assert (config.files.image_size, config.train_dataloader.batch_size) == (144, 16)
    assert (backbone.type, backbone.base_channels) == ("ResNet", 64) and config.train_cfg.max_epochs == 2000


def test_large_sets_are_decoded_on_access(images, monkeypatch):
    monkeypatch.setattr("ssl_ext.config.own_images._memory", lambda: 2**16)
    config = load_config(own_config("trimix", images / "classes"))
    assert config.files.type == "FolderDataset" and config.train_dataloader.num_workers
    splits = monitored_splits(config)
    assert (len(splits.train), splits.train.num_classes) == (28, 3)


def test_steps_of_sgd_are_scaled_to_the_batch_and_the_main_choices_are_printed(images, capsys):
    with pytest.raises(UserError, match="--epochs 0: at least 1 is needed"):
        own_config("moco", images / "classes", epochs=0)
    assert not Path("work_dirs/moco_classes.py").exists()
    config = load_config(own_config("moco", images / "classes", epochs=1))
    assert config.train_dataloader.batch_size == 16
    assert config.optim_wrapper.optimizer.lr == pytest.approx(0.06 * 16 / 128)
    printed = capsys.readouterr().out
    for words in (
        "28 training images of 26 x 26 px",
        "16 channels",
        "1 epoch of batches of 16: 1 step an epoch, about 1 in all (--epochs, instead of 2,000).",
    ):
        assert words in printed
    assert printed.endswith("Config written to work_dirs/moco_classes.py; edit it as you like.\n")
    assert "_base_" not in printed


@pytest.mark.parametrize(
    ("method", "data", "message"),
    [
        ("trimx", "plain", "'trimx' is not a method; did you mean 'trimix'?"),
        ("zebra", "plain", "'zebra' is not a method; known are trimix, .*w-mse"),
        ("no/such.py", "plain", "Config 'no/such.py' does not exist"),
        ("trimix", "absent", "--data '.*absent' does not exist"),
        ("trimix", "plain/00.png", "give a folder of images, a .npz file or a .csv file"),
        ("amix", "plain", "AMix is supervised and needs a label for every image of '.*plain'"),
        ("cutmix", "plain/some.csv", "is supervised and needs a label for every image"),
        ("trimix", "few", "has 9 training images; at least 16 are needed"),
        ("trimix", "empty", "holds no images"),
        ("trimix", "mixed", "both in class folders and beside them"),
        ("trimix", "wrong.csv", "its first file, 'x.png', is not in"),
    ],
)
def test_refusals(method, data, message, images, tmp_path):
    for name in ("empty", "few", "mixed/a", "mixed/b"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(9):
        save(tmp_path / f"few/{number}.png", number)
        save(tmp_path / f"mixed/{'ab'[number % 2]}/{number}.png", number)
    save(tmp_path / "mixed/beside.png", 0)
    (tmp_path / "wrong.csv").write_text("file,label\nx.png,a\n")
    place = tmp_path / data if (tmp_path / data).exists() else images / data
    with pytest.raises(UserError, match=message):
        own_config(method, place)
    assert not Path("work_dirs").exists()


def test_a_method_without_images(capsys):
    with pytest.raises(UserError, match=r"'trimix' is a method: give your images too \(--data FOLDER\)"):
        main(["trimix"])
    with pytest.raises(UserError, match="^--data-options 'crop' is not of the form key=value"):
        main(["trimix", "--data", ".", "--data-options", "crop"])
