"""Every detection config: its name, and one optimiser step on generated images."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from ssl_ext.apis import build_model, load_config
from ssl_ext.detection import initialize

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "benchmarks" / "detection"
CONFIGS = sorted(FOLDER.glob("*.py"))
METHODS = [
    "simclr",
    "moco",
    "byol",
    "simsiam",
    "swav",
    "barlow-twins",
    "vicreg",
    "trimix",
    "cross",
    "tribyol",
]
METHODS += ["pirl-jigsaw", "jaccard-moco", "jaccard-simclr"]
METHODS += ["amix-c", "amix-i", "bsim-weighted", "i-mix", "mix-moco", "mochi", "un-mix"]
NAME = re.compile(
    r"(?P<method>[a-z-]+)_resnet(?P<depth>\d+)(-w(?P<width>\d+))?(?P<stem>-cifar-stem)?-(?P<layout>c4|fpn)"
    r"_(?P<processes>\d+)xb(?P<batch>\d+)-sgd-(?P<iterations>\d+)k_(?P<dataset>voc0712|bccd)"
)


def initialized(path):
    """The config with the backbone and normalisation of its pretraining config, without weights."""
    config = load_config(path)
    if config.init.checkpoint:
        config.init.checkpoint = None
    if config.init.pretraining not in (None, "torchvision"):
        config.init.pretraining = str(ROOT / config.init.pretraining)
    initialize(config)
    return config


def distinct():
    """One config per distinct model and optimiser."""
    found = {}
    for path in CONFIGS:
        plain = initialized(path).to_dict()
        for key in ("mean", "std", "channel_order"):
            plain["model"]["data_preprocessor"].pop(key, None)
        found.setdefault(json.dumps([plain["model"], plain["optim_wrapper"]], sort_keys=True), path)
    return sorted(found.values())


@pytest.mark.parametrize("path", distinct(), ids=lambda path: path.stem)
def test_one_step_trains_every_weight(path):
    config = initialized(path)
    stride = 4 if config.model.backbone.type == "ResNet_CIFAR" else 16
    sides = dict(short_sides=(4 * stride,), test_short_side=4 * stride, size_divisible=2 * stride)
    config.model.data_preprocessor.update(sides)
    config.model.rpn.update(pre_nms=(100, 100), post_nms=(50, 50))
    config.model.roi.batch_size = 8
    torch.manual_seed(0)
    model = build_model(config).train()
    size = 4 * stride
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.4, 0.3, 0.9, 0.8]]) * size
    samples = [dict(boxes=boxes, labels=torch.tensor([0, config.model.num_classes - 1])) for _ in range(2)]
    images = [torch.randint(256, (3, size, size), dtype=torch.uint8) for _ in samples]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    logged = model.train_step(dict(inputs=images, data_samples=samples), optimizer)
    assert torch.isfinite(logged["loss"])
    still = [name for name, weight in model.named_parameters() if torch.equal(weight, before[name])]
    # A bias before a normalisation has no gradient.
    assert not [name for name in still if not name.endswith("bias")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_name_tells_the_content(path):
    config, name = initialized(path), NAME.fullmatch(path.stem)
    assert name
    backbone = config.model.backbone
    assert int(name["depth"]) == backbone.depth
    assert int(name["width"] or 64) == backbone.get("base_channels", 64)
    assert bool(name["stem"]) == (backbone.type == "ResNet_CIFAR")
    assert name["layout"] == config.model.layout.lower()
    assert int(name["batch"]) == config.train_dataloader.batch_size
    assert int(name["iterations"]) * 1000 == config.train_cfg.max_iters
    classes = config.train_dataloader.dataset.get("classes", range(20))
    assert config.model.num_classes == len(classes) == (20 if name["dataset"] == "voc0712" else 3)
    source = Config.fromfile(path).init
    if name["method"] == "random":
        assert source.checkpoint is None
    elif name["method"] == "imagenet":
        assert source.pretraining == "torchvision"
    else:
        pretraining = Config.fromfile(ROOT / source.pretraining)
        assert Path(source.pretraining).name.startswith(f"{name['method']}_")
        epochs = pretraining.train_cfg.max_epochs
        assert source.checkpoint == f"work_dirs/{Path(source.pretraining).stem}/epoch_{epochs}.pth"
        assert config.model.data_preprocessor.mean == pretraining.data_preprocessor.mean


def test_recipe_is_mocos():
    config = initialized(FOLDER / "random_resnet50-c4_8xb2-sgd-24k_voc0712.py")
    assert config.optim_wrapper.optimizer == dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
    assert config.param_scheduler[0]["end"] == 100
    assert config.param_scheduler[1]["milestones"] == [18000, 22000]
    assert config.train_cfg.max_iters == 24000
    sides = config.model.data_preprocessor
    assert (min(sides.short_sides), max(sides.short_sides)) == (480, 800)
    assert (sides.test_short_side, sides.max_size) == (800, 1333)


def test_every_method_has_a_config():
    assert {path.stem.split("_")[0] for path in CONFIGS} == {*METHODS, "random", "imagenet"}


def test_the_readme_names_only_files_that_are_there():
    words = (FOLDER / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:configs|tools|ssl_ext)/[a-z0-9_./-]+\.(?:py|sh)", words))
    assert named and not [name for name in named if not (ROOT / name).exists()]
