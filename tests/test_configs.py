"""Every shipped config: its name, its neighbours, and one real optimiser step on random images."""

import json
import re
from pathlib import Path

import pytest
import torch
import torchvision
from methods import method_of
from mmengine.config import Config
from steps import BATCH, image_shape, name_of, ready, smallest_side
from test_epochs import NAMES, read

from ssl_ext.apis import build_model, load_config
from ssl_ext.engine import load_weights
from ssl_ext.registry import MODELS

ROOT = Path(__file__).parents[1]
# tests/detection has the detectors of configs/benchmarks, tests/test_papers.py the tables of papers.
OTHERS = ("_base_", "benchmarks", "papers")
FOLDERS = sorted(path for path in (ROOT / "configs").iterdir() if path.is_dir() and path.name not in OTHERS)
CONFIGS = {path: Config.fromfile(path) for folder in FOLDERS for path in sorted(folder.glob("*.py"))}
PRETRAINING = {path: config for path, config in CONFIGS.items() if "train_cfg" in config}
EVALUATION = {path: config for path, config in CONFIGS.items() if "train_cfg" not in config}
# Folders of several methods, the rows of a paper's tables.
ROWS = {"amix_ssl": ("AMixC", "AMixI", "BSIM", "IMix", "MixMoCo", "MoCHi", "UnMix")}
ROWS["medical"] = ("SimCLR",)
ROWS["mixup"] = ("ImageClassifier", "MixupClassifier")
NAME = re.compile(
    r"(?P<method>[a-z0-9.-]+)_(?P<backbone>[a-z0-9-]+)"
    r"(_(?P<processes>\d+)xb(?P<batch>\d+)-(?P<optimizer>[a-z]+)(-cosine)?-(?P<epochs>\d+)e)?_(?P<dataset>[a-z0-9-]+)"
)


def stem(path):
    return path.stem


def method_name(model):
    """The name of a method in the name of a config, without hyphens."""
    if model.type == "MixupClassifier":
        return model.policy.name.replace("_", "")
    return "vanilla" if model.type == "ImageClassifier" else model.type.lower()


def loss_terms(model):
    """Names of the loss terms that a model config must produce; a weight of 0 leaves TriMix's out."""
    left_out = {term for term in ("virtual", "consistency") if model.head.get(f"{term}_weight") == 0}
    # Co-Mixup learns from the plain images besides.
    added = {"plain"} if model.get("policy", {}).get("name") == "co_mixup" else set()
    return method_of(model.type).terms - left_out | added


def text(*parts):
    return json.dumps(parts, sort_keys=True)


def test_the_schedule_of_every_config_is_tested_with_other_epochs():
    tested = [read(name).get("param_scheduler") for name in NAMES]
    assert [path for path, config in PRETRAINING.items() if config.get("param_scheduler") not in tested] == []


def distinct_steps():
    """One test case for all files that differ in batch size, epochs or the size of their images only."""
    files = {}
    for path, config in PRETRAINING.items():
        plain, shape = config.to_dict(), image_shape(config.train_dataloader.dataset)
        taken = shape[0], min(shape[1], smallest_side(config))
        key = text(plain["model"], plain["views"], plain["optim_wrapper"], taken)
        files.setdefault(key, (path, config, shape))
    for path, config, shape in files.values():
        backbone = config.model.backbone
        # The same network takes its step on smaller images, too.
        slow = backbone.get("depth", 0) >= 50 and backbone.type.endswith("_CIFAR") and shape[1] > 32
        slow |= shape[1] >= 224
        yield pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("path", distinct_steps())
def test_one_step_trains_every_parameter(path):
    config = load_config(path)
    batch, model, optim_wrapper = ready(config, smallest_side(config))
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    largest = {}
    for name, parameter in trained.items():
        parameter.register_hook(lambda gradient, name=name: largest.update({name: gradient.abs().max()}))

    logged = model.train_step(batch, optim_wrapper)

    assert {name for name in logged if name.startswith("loss_")} == {
        f"loss_{term}" for term in loss_terms(config.model)
    }
    assert all(torch.isfinite(value) for value in logged.values())
    assert {name.split(".")[0] for name in trained} >= {
        "backbone",
        "neck" if "neck" in config.model else "head",
    }
    for name in trained:
        assert largest[name] > 0 and torch.isfinite(largest[name]), name
        # γ starts at its lower bound, below which the step may lead.
        assert not torch.equal(before[name], trained[name]) or name.endswith("gamma"), name


def test_views_can_be_drawn_from_the_images_of_every_config():
    drawn = {}
    for path, config in PRETRAINING.items():
        shape, views = image_shape(config.train_dataloader.dataset), config.to_dict()["views"]
        if text(shape, views) in drawn:
            continue
        preprocessor = MODELS.build(
            dict(type="MultiViewPreprocessor", views=views, **config.data_preprocessor)
        )
        images = torch.randint(256, (BATCH, *shape), dtype=torch.uint8)
        found = preprocessor(dict(inputs=images), training=True)["inputs"]
        assert len(found) == sum(view["repeats"] for view in views)
        side = next((t["size"] for t in views[0]["transforms"] if "size" in t), shape[1])
        assert all(view.shape == (*images.shape[:2], side, side) for view in found), path.name
        assert all(torch.isfinite(view).all() for view in found), path.name
        drawn[text(shape, views)] = path
    assert len(drawn) > 5


@pytest.mark.parametrize("path", EVALUATION, ids=stem)
def test_evaluation_only_config_embeds_its_images(path):
    config = load_config(path)
    model, shape = build_model(config).eval(), image_shape(config.evaluation_dataset)
    images = dict(inputs=torch.randint(256, (1, *shape), dtype=torch.uint8))
    with torch.no_grad():
        features = model.extract_embedding(model.data_preprocessor(images)["inputs"])
    assert features.shape == (1, 2048)
    assert torch.isfinite(features).all() and features.std() > 0
    with pytest.raises(TypeError, match="evaluation only"):
        model.loss([images["inputs"]])


def test_imagenet_row_is_torchvisions_network(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")
    ours = build_model(
        load_config(ROOT / "configs/supervised/supervised-imagenet_resnet50_cifar10.py")
    ).eval()
    assert load_weights(ours, tmp_path / "resnet50.pth").backbone_share == 1
    theirs.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.extract_embedding(images), theirs(images))


@pytest.mark.parametrize("path", CONFIGS, ids=stem)
def test_name_tells_the_content(path):
    config = CONFIGS[path]
    name = NAME.fullmatch(path.stem)
    assert name, "not {method}_{backbone}[_{processes}xb{batch}-{optimizer}-{epochs}e]_{dataset}"
    rows = ROWS.get(path.parent.name)
    assert rows or name["method"].startswith(path.parent.name.replace("_", "-"))
    backbone = config.model.backbone
    kind = backbone.type.removesuffix("_CIFAR").lower().replace("visiontransformer", "vit")
    size = f"-{backbone.arch.removeprefix('deit-')}" if "arch" in backbone else backbone.depth
    assert f"{name['backbone']}-".startswith(f"{kind}{size}-")
    trained, evaluated = config.train_dataloader.dataset, config.evaluation_dataset
    assert name["dataset"].replace("-", "") == name_of(trained).replace("-", "").lower()
    assert name_of(evaluated) in [name_of(part) for part in trained.get("datasets", [trained])]
    if path in EVALUATION:
        assert name["batch"] is None
        assert config.model.type == "PlainBackbone"
        imagenet_stem = "imagenet" in name["method"] or name["dataset"] == "stl10"
        assert config.model.backbone.type == ("ResNet" if imagenet_stem else "ResNet_CIFAR")
        return
    assert name["method"].replace("-", "").startswith(method_name(config.model))
    if rows:
        assert config.model.type in rows
    else:
        assert config.model.type.lower().startswith(path.parent.name.replace("_", ""))
    if "pretext" in config.model:
        assert name["method"] == f"pirl-{config.model.pretext}"
    assert int(name["batch"]) == config.train_dataloader.batch_size
    assert int(name["epochs"]) == config.train_cfg.max_epochs
    assert name["optimizer"] == config.optim_wrapper.optimizer.type.lower()
    if int(name["processes"]) > 1:
        images = int(name["processes"]) * int(name["batch"])
        assert config.auto_scale_lr == dict(base_batch_size=images)


def test_no_two_configs_are_the_same():
    seen = {}
    for path, config in CONFIGS.items():
        content = text(config.to_dict())
        assert content not in seen, f"{path.name} is {seen[content]}"
        seen[content] = path.name


def comparisons():
    """Recipe (the name after the method) → the configs that a table compares under it."""
    tables = {}
    # No table has ODC.
    for path in (path for path in PRETRAINING if path.parent.name != "odc"):
        tables.setdefault(path.stem.split("_", 1)[1], []).append(path)
    return {recipe: paths for recipe, paths in tables.items() if len(paths) > 1}


@pytest.mark.parametrize(("recipe", "paths"), comparisons().items(), ids=comparisons())
def test_compared_methods_share_everything_but_the_algorithm(recipe, paths):
    """Data, schedule, optimiser, backbone, the projector's sizes and the kind of view."""
    shared = set()
    for path in paths:
        plain = CONFIGS[path].to_dict()
        model = plain.pop("model")
        # MoCo splits batch normalisation, and SimSiam's projector ends in one.
        model["backbone"].pop("norm_cfg", None)
        own = ("type", "norm_cfg", "with_last_bn", "with_last_bn_affine")
        neck = {key: value for key, value in model.get("neck", {}).items() if key not in own}
        for view in plain["views"]:
            del view["repeats"]
        if path.parent.name == "medical":
            del plain["views"]  # its tables compare sequences of transforms
        plain["optim_wrapper"].pop("paramwise_cfg", None)
        shared.add(text(plain, model["backbone"], neck))
    assert len(shared) == 1


def test_jaccard_and_its_twins_look_at_the_features_after_every_epoch():
    paths = [path for path in PRETRAINING if "-500e_" in path.stem]
    assert len(paths) == 12
    for path in paths:
        hooks = {hook.type: hook for hook in CONFIGS[path].custom_hooks}
        usual = Config.fromfile(ROOT / "configs/_base_/default_runtime.py").custom_hooks
        assert list(hooks) == [hook.type for hook in usual]
        assert hooks["FeatureMonitorHook"].interval == 1
        # Those of the public set-up that the paper's follows.
        assert CONFIGS[path].evaluation.knn.temperature == CONFIGS[path].model.head.temperature == 0.5
        assert CONFIGS[path].model.get("momentum", 0.999) == 0.999


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_method_has_a_readme_that_names_only_files_that_are_there(folder):
    words = (folder / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:configs|tools|ssl_ext)/[a-z0-9_./-]+\.(?:py|sh)", words))
    assert not [name for name in named if not (ROOT / name).exists()]
    for name in re.findall(r"^NAME=(.+)", words, re.M):
        assert (folder / f"{name}.py").exists(), name
