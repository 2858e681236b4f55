"""Resuming with changed settings: some changes are applied, all others are rejected."""

from __future__ import annotations

import json
import re
import warnings
import zlib
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from ssl_ext.errors import UserError, user_errors

from .loop import EpochLoop
from .weights.checkpoint import stored_meta

KEY = "run"
SAMPLED_IMAGES = 64
SECTIONS = ("model", "data_preprocessor", "views", "optim_wrapper", "param_scheduler", "train_cfg")
LOADER_SECTIONS = ("dataset", "sampler", "collate_fn")
# Settings of where and how data are read; the data themselves are compared by a fingerprint.
ASIDE = {"data_root", "device", "download", "init_cfg", "val_begin", "val_interval"}
APPLIED = (
    "optim_wrapper.clip_grad",
    "optim_wrapper.optimizer",
    "param_scheduler",
    "train_cfg.max_epochs",
    "train_cfg.max_iters",
)
OPTIMIZER_TYPE = "optim_wrapper.optimizer.type"
ABSENT = "not set"
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def run_facts(runner: Any) -> dict[str, Any]:
    """Plain values that a checkpoint stores about its run, to be compared on resume."""
    loader = runner.train_dataloader
    world = get_world_size()
    config = {name: runner.cfg.get(name) for name in SECTIONS}
    settings = runner.cfg.get("train_dataloader", {})
    config["train_dataloader"] = {name: settings.get(name) for name in LOADER_SECTIONS}
    return dict(
        images_per_step=world * (loader.batch_size or 1),
        processes=world,
        steps_per_epoch=len(loader),
        images=len(loader.dataset),
        data=data_fingerprint(loader.dataset),
        seed=runner.cfg.randomness.seed,
        max_iters=runner.max_iters,
        config=json.dumps(_flat(config), default=_text),
    )


def data_fingerprint(dataset: Any) -> int:
    """CRC-32 of the labels and of up to 64 images, or of the files' names."""
    labels = getattr(dataset, "labels", None)
    code = 0 if labels is None else zlib.crc32(torch.as_tensor(labels).cpu().numpy().tobytes())
    images = getattr(dataset, "images", None)
    if isinstance(images, Tensor) and len(images):
        some = images[:: -(-len(images) // SAMPLED_IMAGES)]
        code = zlib.crc32(some.cpu().contiguous().numpy().tobytes(), code)
    for file in getattr(dataset, "files", None) or []:
        code = zlib.crc32(Path(file).name.encode(errors="surrogateescape"), code)
    return code


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Dotted names of the leaves of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    leaves: dict[str, Any] = {}
    for key, part in items:
        path = f"{name}.{key}" if name else str(key)
        if key in ASIDE or part is None:
            continue
        if isinstance(part, dict | list | tuple) and part:
            leaves.update(_flat(part, path))
        else:
            leaves[path] = part
    return leaves


def _text(value: Any) -> str:
    """Text of a value, without memory addresses of objects."""
    return ADDRESS.sub("", str(value))


def changed_settings(runner: Any, path: str) -> list[str]:
    """Describe the changed settings since the checkpoint at ``path`` that can be applied.

    Raises:
        UserError: Another setting has changed, or the checkpoint has no optimiser state.
    """
    checkpoint = stored_meta(path)
    if "optimizer" not in checkpoint:
        raise UserError(
            f"'{path}' has no optimiser state, so it cannot be resumed: start a new run from its weights "
            "(--init)."
        )
    meta = checkpoint["meta"]
    stored = meta.get(KEY)
    if stored is None:
        _check_place(runner, meta, path)
        runner.logger.info(
            f"'{path}' does not record the config of its run; the current config is assumed to be the same."
        )
        return []
    with user_errors(f"'{path}', its record of the run's settings"):
        return _changes(runner, path, meta, stored)


def _changes(runner: Any, path: str, meta: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """Describe changes that can be applied; raise UserError for others."""
    present = runner.facts
    refused = _changed_facts(stored, present)
    applied = _changed_processes(stored, present)
    if applied and meta["iter"] % runner.cfg.optim_wrapper.get("accumulative_counts", 1):
        refused.append(f"{applied.pop()}, but each process holds gradients of an incomplete update")
    before, now = (json.loads(facts["config"]) for facts in (stored, present))
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, ABSENT), now.get(name, ABSENT)
        if old != new and json.dumps(old) != json.dumps(new):  # NaN equals NaN as text
            fits = name != OPTIMIZER_TYPE and name.startswith(APPLIED)
            (applied if fits else refused).append(f"{name} was {old!r} and is {new!r}")
    if refused:
        raise UserError(
            f"Cannot resume from '{path}' with changed settings: {'; '.join(refused)}. "
            "Restore the former values, or start a new run."
        )
    if not applied and stored["max_iters"] != present["max_iters"]:
        applied.append(f"the number of steps was {stored['max_iters']} and is {present['max_iters']}")
    return applied


def _changed_facts(stored: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """Describe changes that affect the order of the images, or the position in it."""
    if stored["images_per_step"] != present["images_per_step"]:
        was, now = (
            f"{facts['images_per_step']} ({facts['processes']} process(es) of "
            f"{facts['images_per_step'] // facts['processes']})"
            for facts in (stored, present)
        )
        return [f"images per step (processes times train_dataloader.batch_size) were {was} and are {now}"]
    names = dict(
        images="the number of training images",
        data="the fingerprint of the training images",
        steps_per_epoch="the number of steps in an epoch (train_dataloader.drop_last, the data)",
        seed="randomness.seed",
    )
    return [
        f"{words} was {stored[name]} and is {present[name]}"
        for name, words in names.items()
        if stored[name] != present[name]
    ]


def _changed_processes(stored: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """Describe a changed number of processes that does not change the images of a step."""
    if stored["processes"] == present["processes"]:
        return []
    return [f"the number of processes was {stored['processes']} and is {present['processes']}"]


def _check_place(runner: Any, meta: dict[str, Any], path: str) -> None:
    steps = len(runner.train_dataloader)
    done = meta["iter"] - meta["epoch"] * steps
    if isinstance(runner.train_loop, EpochLoop) and not 0 <= done <= steps:
        raise UserError(
            f"Cannot resume from '{path}': it was saved after {meta['epoch']} epochs and {meta['iter']} "
            f"steps, but an epoch now has {steps} steps. Restore the former train_dataloader."
        )


def schedulers_of(runner: Any) -> list[Any]:
    """All schedulers of a runner, as a flat list."""
    schedulers = runner.param_schedulers or []
    return list(chain(*schedulers.values())) if isinstance(schedulers, dict) else list(schedulers)


def fresh_settings(runner: Any) -> tuple[list[dict], list[dict]]:
    """Settings of the optimiser's groups and states of the schedulers, before the first step."""
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in runner.optim_wrapper.param_groups
    ]
    return groups, [dict(scheduler.state_dict()) for scheduler in schedulers_of(runner)]


def go_to_present_step(runner: Any, fresh: tuple[list[dict], list[dict]]) -> None:
    """Set optimiser and schedulers to the settings that the current config gives at the resumed step."""
    groups, states = fresh
    for group, settings in zip(runner.optim_wrapper.param_groups, groups, strict=True):
        group.update(settings)
    schedulers = schedulers_of(runner)
    for scheduler, state in zip(schedulers, states, strict=True):
        scheduler.load_state_dict(state)
    each_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    each_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    length = len(runner.train_dataloader)
    with warnings.catch_warnings():
        # Schedulers warn without an optimiser step before each of their steps.
        warnings.simplefilter("ignore")
        for step in range(1, runner.iter + 1):
            for scheduler in each_step:
                scheduler.step()
            # A checkpoint after the last step of an epoch may not count the epoch as finished.
            if step % length == 0 and step // length <= runner.epoch:
                for scheduler in each_epoch:
                    scheduler.step()


def is_finished(runner: Any) -> bool:
    """True after the last step."""
    loop = runner.train_loop
    if isinstance(loop, EpochLoop):
        return loop.epoch >= loop.max_epochs
    return loop.iter >= loop.max_iters
