"""A config for a user's images, from a method and the machine."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from ssl_ext.console import counted
from ssl_ext.engine.work_dir import starting_point
from ssl_ext.errors import UserError
from ssl_ext.files import shown, write_text

from .epochs import set_epochs, warm_up_epochs
from .load import load_config
from .locate import base_of
from .methods import METHODS
from .own_images import OwnImages, find_images
from .stored import method_name

FOLDER = Path("work_dirs")
SMALL_STEM_MAX = 64
FEWEST = 16


def quote(path: Path) -> str:
    """A path as one word of a command line."""
    return shlex.quote(str(path))


class Code(str):
    """An expression in the written config."""


class Machine:
    """Choices that depend on the device: largest images, width of ResNet-18, batch size, steps."""

    def __init__(self) -> None:
        gpu = torch.cuda.is_available()
        self.words = torch.cuda.get_device_name() if gpu else f"{os.cpu_count()} CPU cores"
        self.largest, self.channels, self.batch, self.steps = (
            (224, 64, 256, 20_000) if gpu else (64, 16, 64, 2_000)
        )
        self.processes = int(os.environ.get("WORLD_SIZE", 1))


def own_config(
    method: str,
    data: str | os.PathLike,
    work_dir: str | os.PathLike | None = None,
    options: dict[str, Any] | None = None,
    *,
    epochs: int | None = None,
    resume: bool | str | os.PathLike = False,
    overwrite: bool = False,
) -> Path:
    """Write a config that trains a method on a user's images, and log it; an equal file is left as it is.

    Args:
        method: Short name (:data:`.METHODS`), or the path of a config to inherit from.
        data: Folder of images, ``.npz`` file or CSV file.
        work_dir: Folder of the run, for the commands in the config; default: the config's path without
            ending.
        options: Settings of the data set; see :func:`.find_images`.
        epochs: Epochs of this training, if they differ from the config's; logged only.
        resume: As in :func:`.starting_point`, which checks the folder of the run first.
        overwrite: As there.

    Returns:
        Path of the config: ``work_dirs/<method>_<name of the data>.py``.

    Raises:
        UserError: An unknown method, unreadable data, too few images or no labels for a supervised method;
            the file exists with another content; or the folder holds a run.
    """
    base, machine = base_of(method), Machine()
    images = find_images(data, machine.largest, options)
    name = method if method in METHODS else Path(base).stem
    path = FOLDER / f"{name}_{re.sub(r'[^A-Za-z0-9.-]+', '-', images.path.stem) or 'images'}.py"
    run = Path(work_dir or path.with_suffix(""))
    text, chosen = config_text(base, images, machine, path, run, epochs)
    exists = path.exists()
    if exists and _settings(path.read_text(encoding="utf-8")) != _settings(text):
        raise UserError(
            f"'{path}' exists, and differs from the config for these images (it was edited, or they were "
            f"changed): train it (ssl-ext train {quote(path)}), or delete it."
        )
    starting_point(resume, run, overwrite)
    if int(os.environ.get("RANK", 0)) == 0 and not exists:
        write_text(path, text)
        print_log("\n".join([*chosen, f"Config written to {path}; edit it as you like."]), logger="current")
    return path


def _settings(text: str) -> list[str]:
    """Lines of a config without comments, which name the folder of the run."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def config_text(
    base: str, images: OwnImages, machine: Machine, path: Path, run: Path, asked: int | None = None
) -> tuple[str, list[str]]:
    """Text of a config, and lines with the main choices; see :func:`own_config` (``asked``: its epochs)."""
    settings = load_config(base)
    count = images.images // machine.processes
    if count < FEWEST:
        raise UserError(
            f"'{shown(images.path)}' has {images.images} training images; at least "
            f"{FEWEST * machine.processes} are needed."
        )
    batch = min(machine.batch, max(FEWEST, count // 2 // FEWEST * FEWEST))
    steps = count // batch
    epochs = min(2000, max(10, 2 * warm_up_epochs(settings, steps), round(machine.steps / steps)))
    fitted = copy.deepcopy(settings)
    set_epochs(fitted, epochs, steps)
    if asked is not None:
        set_epochs(copy.deepcopy(fitted), asked, steps)
    small = max(images.image_size) <= SMALL_STEM_MAX
    backbone: dict[str, Any] = dict(type="ResNet_CIFAR" if small else "ResNet")
    backbone |= dict(stem_channels=machine.channels, base_channels=machine.channels)
    model = {"backbone": backbone, **_fitted(settings, images, batch)}
    loader: dict[str, Any] = dict(batch_size=batch)
    if not images.in_memory:
        workers = max(1, min(8, (os.cpu_count() or 1) // machine.processes))
        loader |= dict(num_workers=workers, persistent_workers=True)
    optimizer = settings.optim_wrapper.optimizer
    height, width = images.image_size
    evaluated = "None" if images.labels is None else "files"
    if images.labels:
        evaluated = f"dict(**files, {_literal(images.labels).removeprefix('dict(')}"
    training = {**images.training, "split": "train"}
    about = [
        f"{method_name(settings.model)} on '{shown(images.path)}': {images.images} training images of "
        f"{height} x {width} px. Written for {machine.words}.",
        *images.notes,
    ]
    network = (
        f"ResNet-18 with {machine.channels} channels (64 is the full width), and the stem for "
        f"{'small' if small else 'large'} images."
    )
    an_epoch = f"{counted(steps, 'step')} an epoch, about"
    lines = [
        *(f"# {line}" for line in about),
        f"# Train again after an edit:  ssl-ext train {quote(path)} --work-dir {quote(run)} --overwrite",
        f"# Evaluate:                   ssl-ext evaluate {quote(path)} {quote(run)}"
        + ("" if images.labels is not None else " --protocols quality"),
        f"# Export the backbone:        ssl-ext export {quote(run)} --to torchvision",
        _code("_base_", base),
        "",
        "# Images for training, and with labels, for accuracies.",
        _code("files", {"_delete_": True, **images.files}),
        _code(
            "train_dataloader",
            {**loader, "dataset": Code(f"dict(**files, {_literal(training).removeprefix('dict(')}")},
        ),
        f"evaluation_dataset = {evaluated}",
        "# Mean and standard deviation of the channels, pixels in [0, 1].",
        _code("data_preprocessor", dict(mean=images.mean, std=images.std)),
        f"# {network}",
        _code("model", model),
        f"# {an_epoch} {epochs * steps:,} in all.",
        _code("train_cfg", dict(max_epochs=epochs)),
        *(
            [_code("param_scheduler", fitted.param_scheduler)]
            if fitted.get("param_scheduler") != settings.get("param_scheduler")
            else []
        ),
        _code("default_hooks", dict(checkpoint=dict(interval=max(1, epochs // 10)))),
    ]
    if optimizer.type == "SGD" and batch != (given := settings.train_dataloader.batch_size):
        rate = float(f"{optimizer.lr * batch / given:g}")
        lines += [
            f"# {optimizer.lr:g} for batches of {given}.",
            _code("optim_wrapper", dict(optimizer=dict(lr=rate))),
        ]
    lines = [_printable(line) if line.startswith("#") else line for line in lines]
    # Lone surrogates stand for bytes of paths, and MMEngine replaces {{...}} also in texts and comments.
    text = "\n".join(lines).encode(errors="backslashreplace").decode() + "\n"
    option = f"--epochs, instead of {epochs:,}" if asked else "--epochs N changes it"
    total = (epochs := asked or epochs) * steps
    length = f"{counted(epochs, 'epoch')} of batches of {batch}: {an_epoch} {total:,} in all ({option})."
    chosen = [*about, network, length]
    return text.replace("{", "\\x7b"), [_printable(line) for line in chosen]


def _printable(line: str) -> str:
    """Escape the characters that end a comment or do not print."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def _fitted(settings: Any, images: OwnImages, batch: int) -> dict[str, Any]:
    """Settings of the model that depend on the number of images, classes or the batch."""
    model, given = settings.model, settings.model.get("head", {})
    changes: dict[str, Any] = {}
    head: dict[str, Any] = {}
    if "num_classes" in given:
        if images.classes < 2:
            raise UserError(
                f"{model.type} is supervised and needs a label for every image of '{shown(images.path)}': "
                "give class folders or a file of labels, or choose a self-supervised method, such as trimix."
            )
        head["num_classes"] = images.classes
    clusters = max(2, images.images // 20)
    if "num_clusters" in given:
        head["num_clusters"] = min(given["num_clusters"], clusters)
    if "whitening_size" in given:
        head["whitening_size"] = min(given["whitening_size"], batch)
        changes["neck"] = dict(out_channels=min(model.neck.out_channels, batch // 2))
    if head:
        changes["head"] = head
    if model.get("labels"):
        changes["labels"] = dict(num_classes=min(model.labels.num_classes, clusters))
    if "queue_size" in model:
        changes["queue_size"] = min(model.queue_size, images.images // batch * batch)
    if "mix_block" in model:
        changes["feature_stage"] = 3
    return changes


def _code(key: str, value: Any) -> str:
    """Python code of a setting, in lines of at most 110 characters where values allow it."""
    line = f"{key} = {_literal(value)}"
    if len(line) <= 110 or not isinstance(value, dict):
        return line
    inner = "".join(f"    {name}={_literal(item)},\n" for name, item in value.items())
    return f"{key} = dict(\n{inner})"


def _literal(value: Any) -> str:
    if isinstance(value, Code):
        return value
    if isinstance(value, dict):
        return f"dict({', '.join(f'{key}={_literal(item)}' for key, item in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
