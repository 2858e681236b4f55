"""Backbones with their preprocessing: from runs, checkpoints, classifiers and exported files."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ssl_ext import load
from ssl_ext.apis import build_model, evaluate, export, load_config
from ssl_ext.datasets import FolderDataset, ImageFiles
from ssl_ext.engine import write_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.exporting.formats import read_torch_file
from ssl_ext.models.utils import pool_features

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
MEAN, STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.3]


def write(folder, settings, epoch=3, **changes):
    """Write a checkpoint of random weights as a run does; return its path and the model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config(Config(settings | dict(data_preprocessor=dict(mean=MEAN, std=STD)) | changes))
    torch.manual_seed(epoch)
    model = build_model(config).eval()
    channels = len(config.data_preprocessor.mean)
    about = dict(image_size=(16, 16), channels=channels, classes=("a", "b"))
    meta = dict(cfg=config.pretty_text, epoch=epoch, iter=10 * epoch, dataset_meta=about)
    write_checkpoint(dict(meta=meta, state_dict=model.state_dict()), folder / f"epoch_{epoch}.pth")
    return folder / f"epoch_{epoch}.pth", model


@pytest.fixture(scope="module")
def trained(tiny_settings, tmp_path_factory):
    return write(tmp_path_factory.mktemp("run"), tiny_settings)


@torch.no_grad()
def features(model, images=IMAGES, mean=MEAN, std=STD):
    """Features of uint8 images (N, H, W, C), computed step by step."""
    values = (images.astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    return pool_features(model.backbone(torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()))


def equal(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_every_form_of_the_same_images_gives_the_same_features(trained, tmp_path):
    path, model = trained
    loaded, wanted = load(path), features(model)
    assert wanted.std(0).mean() > 1e-4
    pictures = [Image.fromarray(image) for image in IMAGES]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(len(IMAGES))]
    tensor = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    for images in (IMAGES, tensor, pictures, tuple(map(str, files)), files, list(IMAGES)):
        equal(loaded(images), wanted)
    equal(loaded(IMAGES, batch_size=4), wanted)
    for one in (pictures[0], files[0], str(files[0])):
        equal(loaded(one), wanted[:1])
    assert loaded.prepare(files).equal(tensor)


def test_grey_images_are_repeated_and_rgb_images_become_grey(trained, tiny_settings, tmp_path):
    grey = IMAGES[..., 0]
    loaded, wanted = load(trained[0]), features(trained[1], np.repeat(grey[..., None], 3, axis=3))
    for images in (
        grey,
        grey[..., None],
        torch.from_numpy(grey)[:, None],
        [Image.fromarray(x) for x in grey],
    ):
        equal(loaded(images), wanted)
    model = tiny_settings["model"]
    model = model | dict(backbone=model["backbone"] | dict(in_channels=1))
    path, network = write(tmp_path, tiny_settings, model=model, data_preprocessor=dict(mean=[0.4], std=[0.2]))
    luma = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES])[..., None]
    loaded, wanted = load(path), features(network, luma, [0.4], [0.2])
    for images in (luma, luma[..., 0], [Image.fromarray(image) for image in IMAGES]):
        equal(loaded(images), wanted)
    # torch and Pillow round luma differently, by one grey level at most.
    assert (loaded.prepare(IMAGES).int() - torch.from_numpy(luma).permute(0, 3, 1, 2)).abs().max() <= 1
    assert "16 x 16 px, grey, mean 0.4, std 0.2" in repr(loaded)


@pytest.mark.parametrize("kind", [ImageFiles, FolderDataset])
def test_images_of_another_size_are_resized_as_the_data_set_resizes_them(kind, tiny_settings, tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (3, 24, 37, 3), np.uint8)
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number, image in enumerate(large):
        Image.fromarray(image).save(tmp_path / "images" / "a" / f"{number}.png")
    data = dict(type=kind.__name__, data_root=str(tmp_path / "images"), image_size=16)
    dataset = kind(**{key: value for key, value in data.items() if key != "type"})
    wanted = torch.stack([dataset[row]["inputs"] for row in range(3)])
    loader = tiny_settings["train_dataloader"] | dict(dataset=data)
    loaded = load(write(tmp_path, tiny_settings, train_dataloader=loader)[0])
    assert loaded.prepare(sorted((tmp_path / "images" / "a").iterdir())).equal(wanted)
    assert loaded.prepare([Image.fromarray(image) for image in large]).equal(wanted)
    assert (loaded.prepare(large).int() - wanted).abs().max() <= 1
    assert load(tmp_path, image_size=20).prepare(large).shape == (3, 3, 20, 20)


@pytest.mark.parametrize("kind", [ImageFiles, FolderDataset])
def test_files_are_read_as_the_data_set_reads_them(kind, tiny_settings, tmp_path):
    options = dict(crop="pad", intensity=(100.0, 4000.0), image_size=16)
    (tmp_path / "images/a").mkdir(parents=True)
    for number, image in enumerate(np.random.default_rng(1).integers(0, 4096, (3, 24, 37), np.uint16)):
        Image.fromarray(image).save(tmp_path / f"images/a/{number}.png")
    files = sorted((tmp_path / "images/a").iterdir())
    data = dict(type=kind.__name__, data_root=str(tmp_path / "images"), **options)
    dataset = kind(data_root=tmp_path / "images", **options)
    images = torch.stack([dataset[row]["inputs"] for row in range(3)])
    loader = tiny_settings["train_dataloader"] | dict(dataset=data)
    path, model = write(tmp_path / "run", tiny_settings, train_dataloader=loader)
    exported = [
        export(path, to, out=tmp_path / name).path
        for to, name in (("torchvision", "one.pth"), ("safetensors", "one.safetensors"))
    ]
    for source in (path.parent, path, *exported):
        loaded = load(source)
        assert loaded.prepare(files).equal(images)
        equal(loaded(files), features(model, images.permute(0, 2, 3, 1).numpy()))


def test_a_run_gives_its_newest_checkpoint_and_says_what_it_is(trained, tiny_settings):
    path, model = trained
    loaded = load(path.parent)
    later, other = write(path.parent, tiny_settings, epoch=12)
    equal(loaded(IMAGES), features(model))
    newest = load(path.parent)
    equal(newest(IMAGES), features(other))
    assert str(newest) == (
        f"TriMix from {later}\n"
        "  network   resnet18 with cifar stem, base_channels 8, stem_channels 8, 64 features\n"
        "  trained   on Digits, epoch 12\n"
        "  images    16 x 16 px, RGB, mean 0.3 0.4 0.5, std 0.2 0.25 0.3"
    )
    assert isinstance(newest, torch.nn.Module)
    assert newest.backbone is newest.network.model.backbone
    assert not newest.training
    assert newest.to("meta").network.model.data_preprocessor.device == torch.device("meta")
    later.unlink()


@pytest.mark.parametrize("to", ["torchvision", "detectron2", "safetensors"])
def test_exported_files_load_without_their_checkpoint(to, tiny_settings, tmp_path):
    backbone = tiny_settings["model"]["backbone"]
    if to == "detectron2":
        backbone = backbone | dict(depth=50, zero_init_residual=False)
    model = tiny_settings["model"] | dict(backbone=backbone)
    path, model = write(tmp_path / "run", tiny_settings, model=model)
    file = export(
        path, to, out=tmp_path / f"exported{path.suffix if to != 'safetensors' else '.safetensors'}"
    )
    path.unlink()
    loaded = load(file.path)
    equal(loaded(IMAGES), features(model))
    assert "on Digits, epoch 3\n  images    16 x 16 px" in str(loaded)
    if to == "torchvision":
        # A second export of the file tells the same.
        again = export(file.path, "safetensors", out=tmp_path / "again.safetensors")
        assert str(load(again.path)).split("\n")[1:] == str(loaded).split("\n")[1:]
        about = read_torch_file(file.path.read_bytes())["meta"]
        assert (about["dataset"], about["image_size"]) == (dict(type="Digits", name="Digits"), (16, 16))


def test_the_network_of_a_classifier(trained, tiny_config, tmp_path):
    tiny_config.data_preprocessor = dict(mean=MEAN, std=STD)
    (tmp_path / "data").mkdir()
    pixels, labels = IMAGES[:, :8, :8], np.arange(6) % 2
    arrays = {
        f"{key}_{split}": value
        for split in ("train", "val", "test")
        for key, value in dict(x=pixels, y=labels).items()
    }
    np.savez(tmp_path / "data" / "few.npz", **arrays)
    tiny_config.evaluation_dataset = dict(type="NPZDataset", data_root=str(tmp_path / "data" / "few.npz"))
    (row,) = evaluate(tiny_config, trained[0], protocols=["linear"], save=True, out_dir=tmp_path)
    loaded = load(tmp_path / row.saved)
    equal(loaded(pixels), features(trained[1], pixels))
    assert str(loaded).startswith("TriMix, linear")
    assert "on few\n  images    8 x 8 px" in str(loaded)


def test_a_foreign_file_needs_a_config_and_images_of_one_size(tiny_config_file, trained, tmp_path):
    weights = tmp_path / "plain" / "w.pth"
    weights.parent.mkdir()
    torch.save(trained[1].state_dict(), weights)
    with pytest.raises(UserError, match=r"has no config in it or beside it.*--config"):
        load(weights)
    loaded = load(weights, config=tiny_config_file)
    equal(loaded(IMAGES), features(trained[1], mean=[0.5] * 3, std=[0.5] * 3))
    assert "any size" in str(loaded)
    assert loaded(np.zeros((2, 20, 30, 3), np.uint8)).shape == (2, 64)
    with pytest.raises(UserError, match=r"^The images have 2 sizes: load with image_size"):
        loaded([IMAGES[0], IMAGES[0][:8]])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES.astype(np.float32), r"shape \(6, 16, 16, 3\) and type float32; give uint8"),
        (IMAGES[0, 0], r"shape \(16, 3\)"),
        (IMAGES.transpose(0, 3, 1, 2), r"have 16 channels, and the network takes 3; arrays are"),
        (torch.zeros(2, 3, 16, 16), r"type torch.float32; give uint8"),
        (torch.zeros(3, 16, 16, dtype=torch.uint8), r"shape \(3, 16, 16\)"),
        ([], "No images are given"),
        (["none.png"], r"images: .*none.png' does not exist"),
        ([IMAGES[0] / 255], "An array of the list has type float64; give uint8"),
        ([7], "int is not an image: give PIL images, paths or arrays"),
        (7, "int is not an image"),
    ],
)
def test_other_images_are_one_sentence(images, words, trained):
    with pytest.raises(UserError, match=words):
        load(trained[0])(images)


def test_files_that_cannot_be_loaded_are_one_sentence(trained, tmp_path):
    (tmp_path / "model.onnx").touch()
    for source, words in (
        (tmp_path / "no.pth", "no.pth' does not exist"),
        (tmp_path, "folder without weight files"),
        (tmp_path / "model.onnx", "is an ONNX model, which onnxruntime runs: give its checkpoint"),
    ):
        with pytest.raises(UserError, match=words):
            load(source)
    with pytest.raises(UserError, match="device='x' is not a torch device"):
        load(trained[0], device="x")
    torch.save(dict(meta=dict(cfg="model = print('run')"), state_dict={}), tmp_path / "code.pth")
    with pytest.raises(UserError, match="other content than plain values"):
        load(tmp_path / "code.pth")
