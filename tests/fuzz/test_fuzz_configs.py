"""Mutated configs: each trains a step, or is rejected with one sentence and writes nothing."""

import copy
import random
import re
from collections import Counter

import numpy as np
import pytest
from mmengine.config import Config

from ssl_ext.apis import pretrain
from ssl_ext.engine import NonFiniteError
from ssl_ext.errors import UserError

DELETE = object()
VALUES = {
    "deleted": DELETE,
    "none": None,
    "string": "abc",
    "negative": -1,
    "zero": 0,
    "huge": 10**12,
    "list": [1, 2],
    "unknown type": dict(type="NoSuch"),
    "unknown key": dict(nonsense=1),
    "fraction": 0.5,
    "nan": float("nan"),
    "true": True,
}
QUICK = 48
# Errors of MMPretrain's classes have their own wording but are never empty.
EMPTY_WORDS = re.compile(r"^\W*$|Traceback|\n")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """24 training, 12 validation and 12 test images of 8 px."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    draw = np.random.default_rng(0)
    arrays = {}
    for split, count in dict(train=24, val=12, test=12).items():
        arrays[f"x_{split}"] = draw.integers(0, 256, (count, 8, 8, 3), np.uint8)
        arrays[f"y_{split}"] = np.arange(count) % 3
    np.savez(path, **arrays)
    return path


@pytest.fixture
def valid(tiny_config, file):
    """Config of a run of three steps with most kinds of settings."""
    config = tiny_config.to_dict()
    config["model"]["backbone"].update(stem_channels=4, base_channels=4)
    config["model"]["neck"].update(in_channels=32, hid_channels=8, out_channels=8)
    dataset = dict(type="NPZDataset", data_root=str(file))
    config["train_dataloader"].update(batch_size=8, dataset=dict(dataset, split="train"))
    config["evaluation_dataset"] = dataset
    config["evaluation"]["knn"]["k"] = 5
    config["train_cfg"]["max_epochs"] = 1
    config["param_scheduler"] = [dict(type="CosineAnnealingLR", T_max=1, by_epoch=True)]
    config["custom_hooks"] += [dict(type="OnlineProbeHook"), dict(type="ValidationLossHook")]
    return config


def keys_of(node, at=()):
    pairs = (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    )
    for name, value in pairs:
        yield (*at, name)
        yield from keys_of(value, (*at, name))


def mutated(config, key, value):
    config = copy.deepcopy(config)
    place = config
    for name in key[:-1]:
        if isinstance(place[name], tuple):
            place[name] = list(place[name])
        place = place[name]
    if value is DELETE:
        del place[key[-1]]
    else:
        place[key[-1]] = copy.deepcopy(value)
    return config


def ending(config, folder):
    """Train; return 'trained', 'refused', 'not finite', or a description of the fault."""
    try:
        pretrain(Config(config), work_dir=folder)
    except NonFiniteError:
        return "not finite"
    except UserError as error:
        if EMPTY_WORDS.search(str(error)):
            return f"no single sentence: {error}"
        # At most a log folder.
        written = [path.name for path in folder.glob("*") if path.is_file()]
        return f"it wrote {written}" if written else "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "trained"


def cases(config):
    every = [(key, name) for key in keys_of(config) for name in VALUES]
    random.Random(0).shuffle(every)
    return every


def run(configs, folder):
    """Count the endings of (config, mutation) pairs."""
    ended, faults = Counter(), []
    for number, (label, config) in enumerate(configs):
        how = ending(config, folder / str(number))
        ended[how] += 1
        if how not in ("trained", "refused", "not finite"):
            faults.append(f"{label}: {how}")
    assert not faults, "\n".join(faults)
    return ended


def changed(config, key, name):
    return f"{'.'.join(map(str, key))} {name}", mutated(config, key, VALUES[name])


@pytest.mark.filterwarnings("ignore")
def test_some_mutations_of_every_kind(valid, tmp_path):
    ended = run((changed(valid, *case) for case in cases(valid)[:QUICK]), tmp_path)
    assert ended["refused"] > QUICK / 3 and ended["trained"] > 3, ended


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_every_mutation_of_every_key(valid, tmp_path):
    every = cases(valid)[QUICK:]
    ended = run((changed(valid, *case) for case in every), tmp_path)
    assert len(every) > 1300 and ended["refused"] > len(every) / 2, ended


def changed_twice(config, draw):
    labels = []
    for _ in range(2):
        label, config = changed(config, draw.choice(list(keys_of(config))), draw.choice(list(VALUES)))
        labels.append(label)
    return ", ".join(labels), config


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_two_mutations_at_once(valid, tmp_path):
    draw = random.Random(1)
    run((changed_twice(valid, draw) for _ in range(300)), tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model", "SimCLR", "model='SimCLR'; it must be a dict with the key type"),
        ("model.type", "SimCRL", "type='SimCRL' is not a registered model"),
        ("custom_hooks", 3, "custom_hooks=3; it must be a list of dicts with the key type, or None"),
        ("train_dataloader.batch_size", "64", "train_dataloader.batch_size='64'; it must be a whole number"),
        ("train_cfg.max_epochs", 0.5, "train_cfg.max_epochs=0.5; it must be a whole number of at least 1"),
        ("optim_wrapper.optimizer.lr", "fast", "optim_wrapper.optimizer.lr='fast'; it must be a number"),
        ("optim_wrapper.optimizer.type", "Adma", "type='Adma' is not a registered optimizer"),
        ("model.neck.num_layers", 10**12, "model.neck.num_layers=1000000000000; no size or count may exceed"),
        ("model.head.temperature", float("nan"), "model.head.temperature=nan; it must be a number"),
        ("randomness.seed", 2**32, "randomness.seed=4294967296; it must be a whole number from 0 to"),
        ("evaluation.knn.k", 0, "evaluation.knn.k=0: at least 1 is needed"),
        ("evaluation.linear.solver", "sdg", "evaluation.linear.solver='sdg': allowed are sgd"),
        ("compile", 3, "compile=3; it must be True, False or a dict of torch.compile's arguments"),
        ("channels_last", "yes", "channels_last='yes'; it must be True or False"),
        ("model.backbone.conv_cfg", dict(type="Conv1d"), "first training step failed: .*input to conv1d"),
        ("model.backbone.no_such", 1, "unexpected keyword argument 'no_such'"),
    ],
)
def test_the_words_for_common_mistakes(valid, tmp_path, key, value, words):
    config = Config(valid)
    config.merge_from_dict({key: value})
    with pytest.raises(UserError, match=words):
        pretrain(config, work_dir=tmp_path / "run")


def test_a_config_that_cannot_train_replaces_nothing_of_an_earlier_run(valid, tmp_path):
    (tmp_path / "config.py").write_text(Config(valid).pretty_text)
    pretrain(tmp_path / "config.py", work_dir=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert {"config.py", "run.json", "epoch_1.pth"} <= set(before)
    options = {"model.backbone.conv_cfg": dict(type="Conv1d")}
    with pytest.raises(UserError, match="first training step"):
        pretrain(tmp_path / "config.py", work_dir=tmp_path / "run", overwrite=True, options=options)
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert after == before
