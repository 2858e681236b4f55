"""Commands of the pages, run in this process with small networks, few epochs and random images.

Images of data sets that would be downloaded are replaced; so are the epochs of recipes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import glob
import inspect
import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from commands import ROOT, Command, blocks
from methods import method_of
from mmengine.config import Config
from PIL import Image
from sklearn.datasets import load_digits

from ssl_ext.apis import load_config, parse_options
from ssl_ext.cli.__main__ import COMMANDS
from ssl_ext.config import recipes
from ssl_ext.config.locate import config_file
from ssl_ext.datasets import ArrayDataset

SIDE, TRAIN, TEST, OWN = 28, 1200, 100, 200
CLASSES = dict(CIFAR10=10, CIFAR100=100, STL10=10, TinyImageNet=200, SVHN=10, USPS=10)
CLASSES |= dict(MNIST=10, FashionMNIST=10, KMNIST=10, MedMNIST=None)
# Commands of other programs, and those for several GPUs, Slurm and files that have to be downloaded.
PARSED = (
    r"bash tools/(quickstart|test|setup_env)\.sh",
    r"(source|ruff|mypy|pytest|pip|curl|tensorboard|ray) ",
    r"python (-m venv|tests/mutants/run\.py|tools/benchmark\.py) ",  # tests/benchmarks, tests/mutants
    r"tools/dist_train\.sh \S+ 8",
    r"tools/slurm_train\.sh ",
    r".*(_imagenet\.py|work_dirs/fig5|_cub200|_fgvc-aircraft|supervised-imagenet)",
    r".*(benchmarks/detection|detections |blood-trimix)",  # tests/detection
    r".* (--gpus 0,1|--ray \d)",
    r"ssl-ext pack mine\.py ",  # tests/datasets/test_packed_dataset.py
)
# Large numbers in commands.
LESS = (
    (r"epoch_\d+\.pth", "epoch_1.pth"),
    (r"\.download=True", ".download=False"),
    (r"train_cfg\.max_epochs=\d+", "train_cfg.max_epochs=1"),
    (r"^([a-z_.]+(?:\+[a-z_.]+)*=[^,\[{(]+),.*", r"\1"),  # the first point of each axis of a grid
)
FEWER = {"--seeds": 1, "--draws": 1}


def tool_of(command: Command) -> tuple[str, list[str]] | None:
    """Name and arguments of a command of this project, or None for another program."""
    first, *rest = command.words
    if first == "ssl-ext":
        return rest[0], rest[1:]
    if first == "python" and (found := re.fullmatch(r"tools/(\w+)\.py", rest[0])):
        name = found[1].replace("_", "-")
        return (name, rest[1:]) if name in COMMANDS else None
    return None


def stand_in(name: str, official: Any) -> Any:
    """``__init__`` of a data set with random images in place of the official files."""
    signature = inspect.signature(official)

    @functools.wraps(official)
    def init(self: Any, *args: Any, **options: Any) -> None:
        given = signature.bind(self, *args, **options)
        given.apply_defaults()
        given = given.arguments
        side, channels, names = SIDE, 3, CLASSES[name]
        task = "multi-class"
        if name == "MedMNIST":
            from medmnist import INFO

            info = INFO[given["name"]]
            names = list(info["label"].values())
            channels = 3 if given["as_rgb"] else 1
            side = given["size"]
        names = names if isinstance(names, list) else [str(number) for number in range(names)]
        splits = ("train", "val", "test") if name == "MedMNIST" else ("train", "test")
        n = TEST if given["split"] in ("val", "test") else TRAIN
        images = np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8)
        labels = np.arange(n) % len(names)
        ArrayDataset.__init__(
            self, images, labels, classes=names, task=task, available_splits=splits, split=given["split"]
        )

    return init


def shorten_recipes(monkeypatch: Any) -> None:
    """Train probes and fine-tuned networks for one epoch with every recipe."""
    for recipe in recipes.RECIPES.values():
        for name in ("linear", "linear_aug", "finetune"):
            if name in recipe and recipe[name].get("solver") != "lbfgs":
                changed = {**recipe[name], "epochs": 1}
                if name != "linear":
                    changed |= dict(evaluations=1, min_steps=1)
                    changed.pop("milestones", None)
                monkeypatch.setitem(recipe, name, changed)


class _Parsed(Exception):
    pass


def parsed(tool: str, words: list[str], monkeypatch: Any) -> argparse.Namespace:
    """Arguments that the parser of a tool reads from the words; nothing is run."""
    found = []
    parse = argparse.ArgumentParser.parse_args

    def stop(self: Any, *args: Any) -> None:
        found.append(parse(self, *args))
        raise _Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with contextlib.suppress(_Parsed):
            import_module(f"ssl_ext.cli.{tool.replace('-', '_')}").main(words)
    return found[0]


def small(config: Config) -> list[str]:
    """Overrides that make a config a run of about a second."""
    changes: list[str] = []
    if "train_cfg" in config and config.train_cfg.by_epoch:
        changes += ["train_cfg.max_epochs=1", "train_dataloader.num_workers=0"]
        changes += ["train_dataloader.persistent_workers=False", "train_dataloader.batch_size=128"]
        if len(config.get("param_scheduler", [])) > 1:
            changes.append("param_scheduler=[]")  # warm-up takes several epochs
        if few := method_of(config.model.type).few:
            changes.append(f"model={few}")
    for recipe in ("linear_aug", "finetune"):
        if recipe in config.get("evaluation", {}):
            changes += [f"evaluation.{recipe}.{key}=1" for key in ("epochs", "evaluations", "min_steps")]
    backbone = config.model.backbone
    if backbone.type.startswith("Res"):
        changes += [f"model.backbone.{key}_channels=4" for key in ("stem", "base")]
        changes.append("model.backbone.depth=18")
    elif backbone.type == "VisionTransformer":
        arch = dict(_delete_=True, embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16)
        changes.append(f"model.backbone.arch={arch}")
    elif backbone.type == "ConvNeXt":
        changes.append(f"model.backbone.arch={dict(_delete_=True, depths=[1] * 4, channels=[8] * 4)}")
    return changes


def shorter(tool: str, words: list[str]) -> list[str]:
    """Arguments of a command with small numbers."""
    for long, short in LESS:
        words = [re.sub(long, short, word) for word in words]
    seen: set[str] = set()  # checkpoints of one training are one
    words = [w for w in words if not w.endswith("/epoch_1.pth") or not (w in seen or seen.add(w))]
    for option, n in FEWER.items():
        if option in words:
            start = stop = words.index(option) + 1
            while stop < len(words) and not words[stop].startswith("--"):
                stop += 1
            words[start:stop] = words[start : start + n]
    words = [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]
    if tool == "table":
        return words if "--published" in words else ["--dry-run", *words]
    if tool in ("train", "evaluate", "label-curve", "sweep", "visualize", "audit") and "--data" not in words:
        config = next((word for word in words if word.endswith(".py")), None)
        if config and not config.startswith("work_dirs/"):
            given = import_module("ssl_ext.cli.arguments")
            parser = argparse.ArgumentParser()
            given.add_options(parser)
            options = parser.parse_known_args(words)[0].options
            settings = load_config(config, parse_options(options))
            changes = small(settings)
            if "--epochs" in words:
                words[words.index("--epochs") + 1] = "1"
                changes.remove("train_cfg.max_epochs=1")
            words += ["--cfg-options", *changes]
            if tool == "sweep":
                words += _grid_data(settings)
    elif tool == "train":
        words += ["--cfg-options", "train_cfg.max_epochs=1"]
    return words


def _grid_data(config: Config) -> list[str]:
    """Overrides for processes of their own, which read no random images: digits, of ten classes."""
    digits = "{'_delete_':True,'type':'Digits','image_size':28"
    options = [f"train_dataloader.dataset={digits},'split':'train'}}", f"evaluation_dataset={digits}}}"]
    if "num_classes" in config.model.get("head", {}):
        options.append("model.head.num_classes=10")
    return options


def run(command: Command) -> None:
    """Run a command in the current folder, shortened.

    Raises:
        AssertionError: It ended with an error status.
    """
    if known := tool_of(command):
        tool, words = known[0], shorter(*known)
        try:
            import_module(f"ssl_ext.cli.{tool.replace('-', '_')}").main(words, prog=f"ssl-ext {tool}")
        except SystemExit as ended:
            # The audit finds problems in random images.
            assert not ended.code or tool == "audit", f"exit status {ended.code}"
        return
    words, variables = list(command.words), dict(word.split("=", 1) for word in command.variables)
    if words[1] == "tools/label_budgets.sh":
        variables.pop("DATA_ROOT", None)
        _run_script(command, {**os.environ, **variables, "SEEDS": "0", "BUDGETS": "100"})
        return
    if config := next((word for word in words if word.endswith(".py")), None):
        words += ["--cfg-options", *small(load_config(config))]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **variables, "PATH": path, "PORT": "29611"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"


def _run_script(command: Command, environment: dict[str, str]) -> None:
    """Run a shell script; its Python commands run shortened in this process, which saves their imports."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered, python = (Path(folder) / name for name in ("asked", "answered", "python"))
        os.mkfifo(asked)
        os.mkfifo(answered)
        python.write_text(f'#!/bin/bash\nprintf "%s\\0" python "$@" >{asked}\nexit "$(cat {answered})"\n')
        python.chmod(0o755)
        ask = f'"$@"; printf "%s\\0" end $? >{asked}'
        with subprocess.Popen(
            ["bash", "-c", ask, "-", *command.words], env={**environment, "PYTHON": str(python)}
        ):
            failed = None
            while (words := asked.read_text().split("\0")[:-1])[0] != "end":
                try:
                    run(Command(command.page, tuple(words)))
                except Exception as error:  # the script is to end
                    failed = error
                answered.write_text(str(int(failed is not None)))
    if failed:
        raise failed
    assert words[1] == "0", f"exit status {words[1]}"


EPOCHS = re.compile(r"-(\d+)e_|max_epochs=(\d+)")


def _epochs(folder: str, commands: list[Command]) -> set[int]:
    """Numbers of epochs of the trainings of a page that write into a folder."""
    found = set()
    for command in commands:
        words = command.words
        config = next((word for word in words if word.endswith(".py") and "tools/" not in word), None)
        if config is None or not re.search(r"(ssl-ext |/)train(\.py)? |dist_train", str(command)):
            continue
        place = f"work_dirs/{Path(config).stem}"
        if "--work-dir" in words:
            place = words[words.index("--work-dir") + 1]
        if place == folder:
            options = [word for word in words if word.startswith("train_cfg.")]
            own = re.search(r"train_cfg = .*", (ROOT / command.page).read_text("utf-8"))
            text = " ".join([own[0] if own else "", config, *options])
            found.add(int(next(filter(None, EPOCHS.findall(text)[-1]))))
    return found


def check(command: Command, commands: list[Command], monkeypatch: Any) -> None:
    """Parse a command, and look for its configs, and for the training whose checkpoints it reads.

    Raises:
        AssertionError, UserError: A file is missing, or an argument or a number of epochs is wrong.
    """
    words = list(command.words)
    given = None
    if known := tool_of(command):
        given = parsed(*known, monkeypatch)
    elif "tools/dist_train.sh" in words[:2]:
        config, processes, *rest = words[1 + (words[0] == "bash") :]
        assert int(processes) > 1
        given = parsed("train", [config, *rest], monkeypatch)
        load_config(config, parse_options(given.options))
    elif words[0] == "tools/slurm_train.sh":
        given = parsed("train", words[3:], monkeypatch)
    elif "tools/benchmark.py" in words:
        monkeypatch.setattr(sys, "argv", words[1:])
        import_module("benchmark").parse()
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
    elif words[0] in ("bash", "python"):
        assert all((ROOT / word).exists() for word in words[1:] if re.search(r"\.(py|sh)$", word))
    for word in words:
        if re.match(r"(configs/|ssl_ext::).*\.py$", word):
            config_file(word)
        if read := re.fullmatch(r"(work_dirs/.+)/epoch_(\d+)\.pth", word):
            epochs = _epochs(read[1], commands)
            assert epochs, f"{command}: no command of the page trains '{read[1]}'"
            assert int(read[2]) in {*epochs, *range(10, max(epochs), 10)}, f"{command}: {epochs} epochs"


def clone(folder: Path, page: str) -> None:
    """Make a folder that looks like a checkout with a user's images, and write the named files of a page."""
    for name in ("configs", "tools", "ssl_ext"):
        (folder / name).symlink_to(ROOT / name)
    for source in ("configs/README.md", page):
        for block in blocks(source, "python"):
            if named := re.match(r"# (\w+\.py)\n", block):
                (folder / named[1]).write_text(block)
    images, labels = load_digits(return_X_y=True)
    images = np.repeat((images * 15).astype(np.uint8).reshape(-1, 8, 8, 1), 3, axis=3)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    rows = ["file,label,lesion_id"]
    for number, (image, label) in enumerate(zip(images[:OWN], labels[:OWN], strict=True)):
        name = f"{label}/{number}.jpg"
        for place in ("mine", "new", "imagenet/train", "imagenet/val"):
            path = folder / "data" / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        rows.append(f"{name},{label},{number}")
    (folder / "data/mine.csv").write_text("\n".join(rows))
    train, test = slice(TRAIN), slice(TRAIN, TRAIN + TEST)
    arrays = dict(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test])
    for name in ("mine", "cifar10-10k"):
        np.savez(folder / f"data/{name}.npz", **arrays)
