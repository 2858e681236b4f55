"""Every shipped config: its name, its neighbours, and one real optimiser step on random images."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from ssl_ext.apis import build_model, load_config
from ssl_ext.apis.pretrain import check_batches
from ssl_ext.datasets import ArrayDataset

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path for path in (ROOT / "configs").iterdir() if path.is_dir() and path.name != "_base_")
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
BATCH = 8
IMAGE_SIZES = dict(CIFAR10=32, CIFAR100=32, STL10=96, TinyImageNet=64)
NAME = re.compile(
    r"(?P<method>[a-z0-9.-]+)_(?P<backbone>[a-z0-9-]+)_(?P<processes>\d+)xb(?P<batch>\d+)"
    r"-(?P<optimizer>[a-z]+)-(?P<epochs>\d+)e_(?P<dataset>[a-z0-9-]+)"
)


def image_shape(dataset):
    """(C, H, W) that the data set of a config serves."""
    if dataset.type == "MedMNIST":
        return 3 if dataset.as_rgb else 1, dataset["size"], dataset["size"]
    size = dataset.image_size if dataset.type == "Digits" else IMAGE_SIZES[dataset.type]
    return 3, size, size


def loss_terms(model):
    """Names of the loss terms that a model config must produce."""
    terms = {"loss_invariance", "loss_redundancy"}
    if model.type == "TriMix":
        terms |= {f"loss_{term}" for term in ("virtual", "consistency") if model.head[f"{term}_weight"]}
    else:
        assert model.type == "BarlowTwins"
    return terms


def case(path):
    config = Config.fromfile(path)
    slow = config.model.backbone.depth > 50 or image_shape(config.train_dataloader.dataset)[1] > 96
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if slow else [])


def loader_of(config):
    """The config's loader over random images of the shape its data set has."""
    shape = image_shape(config.train_dataloader.dataset)
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 1, *shape), np.uint8)
    settings = dict(config.train_dataloader, dataset=ArrayDataset(images), batch_size=BATCH)
    return Runner.build_dataloader(settings, seed=0)


@pytest.mark.parametrize("path", [case(path) for path in FILES])
def test_one_step_trains_backbone_and_neck(path):
    config = load_config(path)
    torch.manual_seed(0)
    loader, model = loader_of(config), build_model(config)
    check_batches(config, loader, model)
    model = model.to(memory_format=torch.channels_last).train()
    optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    trained = dict(model.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    largest = {}
    for name, parameter in trained.items():
        parameter.register_hook(lambda gradient, name=name: largest.update({name: gradient.abs().max()}))

    (batch,) = loader
    logged = model.train_step(batch, optim_wrapper)

    assert {name for name in logged if name.startswith("loss_")} == loss_terms(config.model)
    assert all(torch.isfinite(value) for value in logged.values())
    for part in ("backbone", "neck"):
        names = [name for name in trained if name.startswith(f"{part}.")]
        assert names
        for name in names:
            assert largest[name] > 0 and torch.isfinite(largest[name]), name
            assert not torch.equal(before[name], trained[name]), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_name_tells_the_content(path):
    config = Config.fromfile(path)
    name = NAME.fullmatch(path.stem)
    assert name, "not {method}_{backbone}_{processes}xb{batch}-{optimizer}-{epochs}e_{dataset}"
    assert name["method"].startswith(path.parent.name.replace("_", "-"))
    assert path.parent.name.replace("_", "") == config.model.type.lower()
    assert name["backbone"].split("-")[0] == f"resnet{config.model.backbone.depth}"
    assert int(name["batch"]) == config.train_dataloader.batch_size
    assert int(name["epochs"]) == config.train_cfg.max_epochs
    assert name["optimizer"] == config.optim_wrapper.optimizer.type.lower()
    for dataset in (config.train_dataloader.dataset, config.evaluation_dataset):
        found = dataset.name if dataset.type == "MedMNIST" else dataset.type
        assert name["dataset"].replace("-", "") == found.lower()


def test_no_two_configs_are_the_same():
    seen = {}
    for path in FILES:
        text = json.dumps(Config.fromfile(path).to_dict(), sort_keys=True)
        assert text not in seen, f"{path.name} is {seen[text]}"
        seen[text] = path.name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_method_has_a_readme_and_a_metafile_of_all_its_configs(folder):
    assert (folder / "README.md").is_file()
    models = yaml.safe_load((folder / "metafile.yml").read_text(encoding="utf-8"))["Models"]
    listed = [model["Config"] for model in models]
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in folder.glob("*.py"))
    assert [model["Name"] for model in models] == [Path(config).stem for config in listed]
