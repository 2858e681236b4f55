"""Config of a training run: command-line options, and checks before and after the model is built."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from ssl_ext.engine.activation_checkpointing import checked_stages
from ssl_ext.errors import UserError, user_errors
from ssl_ext.files import shown
from ssl_ext.models.selfsup.base import UNKNOWN, TrainableModel

from .arguments import check_arguments
from .epochs import set_epochs
from .images import check_channels, check_split_norms, warn_of_misfits
from .load import load_config
from .recipes import read_recipes

REQUIRED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")


def training_config(
    config: Config | str | os.PathLike,
    options: dict | None = None,
    *,
    epochs: int | None = None,
    work_dir: str | os.PathLike | None = None,
    amp: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    compile: bool = False,
    auto_scale_lr: bool = False,
) -> Config:
    """Load the config of a run, with ``work_dir`` and ``randomness`` set; see ``pretrain`` for the arguments.

    Raises:
        UserError: A key is missing, a value has the wrong type, an argument of loop, optimiser or schedulers
            is unknown, a recipe in ``evaluation`` is out of range, ``amp`` is used without a GPU, or the
            schedules do not allow ``epochs`` (:func:`.set_epochs`).
    """
    switches: dict[str, Any] = {"compile": True} if compile else {}
    if seed is not None:
        switches["randomness.seed"] = seed
    if deterministic:
        switches["randomness.deterministic"] = True
    if auto_scale_lr:
        switches["auto_scale_lr.enable"] = True
    if amp:
        switches.update(_mixed_precision())
    config = load_config(config, {**copy.deepcopy(options or {}), **switches}, required=REQUIRED)
    check_arguments(config)
    if epochs is not None:
        given = Config()
        given.merge_from_dict(copy.deepcopy(options or {}))
        if "max_epochs" in given.get("train_cfg", {}):
            raise UserError("Give either --epochs or train_cfg.max_epochs (--cfg-options), not both.")
        set_epochs(config, epochs)
    read_recipes(config)
    config.work_dir = run_folder(config, work_dir)
    if shown(config.work_dir) != str(config.work_dir):
        raise UserError(
            f"Work dir '{shown(config.work_dir)}' is not UTF-8, as TensorBoard needs it: "
            "give another --work-dir."
        )
    config.setdefault("randomness", ConfigDict())
    if config.randomness.get("deterministic"):
        # Deterministic matrix products on a GPU need it; CUDA reads it when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return config


def run_folder(config: Config, work_dir: str | os.PathLike | None = None) -> str:
    """Work dir of a run: the given one, else the config's, else ``work_dirs/<config name>``."""
    name = Path(config.filename).stem if config.filename else "run"
    return os.path.expanduser(work_dir or config.get("work_dir") or Path("work_dirs") / name)


def fit_learning_rate(config: Config, processes: int) -> None:
    """Log the images per step and the learning rate; scale the rate (``--auto-scale-lr``) or warn of it.

    ``auto_scale_lr.base_batch_size`` is the number of images per step that ``optim_wrapper.optimizer.lr`` is
    for.

    Raises:
        UserError: Scaling is enabled, but ``base_batch_size`` is missing.
    """
    settings: Any = config.get("auto_scale_lr") or {}
    base, scale = settings.get("base_batch_size"), settings.get("enable", False)
    if base is None and scale:
        raise UserError(
            "--auto-scale-lr: the config does not define the images per step of its learning rate; set "
            "auto_scale_lr.base_batch_size."
        )
    batch, updates = config.train_dataloader.get("batch_size", 1), config.optim_wrapper
    parts = updates.get("accumulative_counts", 1)
    images = processes * batch * parts
    optimizer: Any = updates.get("optimizer")
    said = f"{processes} process(es) of {batch} images" + f", {parts} times," * (parts > 1)
    said += f" make updates of {images} images"
    if base in (None, images):
        rate = (optimizer or {}).get("lr")
        print_log(said + (f"; the learning rate is {rate:g}." if rate else "."), logger="current")
        settings["enable"] = False
        return
    rate = optimizer.lr * images / base
    said += f", but the learning rate {optimizer.lr:g} is for {base}"
    if scale:
        print_log(f"{said}: it was scaled to {rate:g}.", logger="current")
        optimizer.lr = rate
        # The stored config must not be scaled again.
        settings["base_batch_size"] = images
    else:
        warnings.warn(f"{said}: --auto-scale-lr scales it to {rate:g}.", stacklevel=2)
    settings["enable"] = False


def _mixed_precision() -> dict[str, Any]:
    # On a CPU with matrix units (AMX) bfloat16 is faster than float32, on other CPUs slower.
    if not torch.cuda.is_available() and not torch.cpu._is_amx_tile_supported():
        raise UserError(
            "--amp needs a GPU or a CPU with AMX: on other CPUs mixed precision is slower than float32."
        )
    wrapper = dict(type="BFloat16OptimWrapper")
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        wrapper = dict(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")
    return {f"optim_wrapper.{key}": value for key, value in wrapper.items()}


def check_training(config: Config, loader: DataLoader, model: TrainableModel) -> None:
    """Check that data set, preprocessor, network and memory options fit together.

    Raises:
        UserError: See :func:`check_batches` and :func:`check_memory_options`.
    """
    with user_errors("config"):
        check_batches(config, loader, model)
        check_memory_options(config, model)


def check_batches(config: Config, loader: Any, model: TrainableModel) -> None:
    """Check that data set, preprocessor and network fit together.

    Raises:
        UserError: Too few images for one batch, a batch of one or not divisible by ``num_splits``, or
            numbers of views or channels that differ.
    """
    batch_size = config.train_dataloader.get("batch_size", 1)
    try:
        model.check_batch_size(batch_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    check_split_norms(batch_size, model)
    if len(loader) == 0:
        raise UserError(
            f"The training split has {len(loader.dataset)} images, less than one batch of {batch_size}: "
            "lower train_dataloader.batch_size."
        )
    if not loader.drop_last and (left := len(loader.sampler) % batch_size):
        try:
            model.check_batch_size(left)
        except ValueError as error:
            images = "a single image" if left == 1 else f"{left} images"
            raise UserError(
                f"The last batch of an epoch would hold {images} ({len(loader.sampler)} images in batches of "
                f"{batch_size}): set train_dataloader.drop_last=True or another batch_size."
            ) from error
    wanted, drawn = model.num_views, model.drawn_views
    if wanted and drawn is not None and drawn != wanted:
        raise UserError(
            f"{type(model).__name__} needs {wanted} views per image, but the config's views give "
            f"{drawn}: change views[].repeats."
        )
    with user_errors("train_dataloader.dataset"):
        model.check_dataset(loader.dataset)
    check_channels(loader.dataset, model)
    warn_of_misfits(config, loader.dataset, model)


def check_memory_options(config: Config, model: TrainableModel) -> None:
    """Check ``activation_checkpointing`` and ``optim_wrapper.accumulative_counts``.

    Warns if gradients accumulated over several batches differ from those of one large batch; the model's
    ``batch_dependence`` gives the reason.

    Raises:
        UserError: The backbone has no stages to recompute, or ``compile`` is set too.
    """
    if config.get("activation_checkpointing", False):
        checked_stages(model)
        if config.get("compile", False):
            raise UserError(
                "activation_checkpointing and compile cannot be combined, because a compiled recomputation "
                "updates running statistics again: set one of them to False."
            )
    count = config.optim_wrapper.get("accumulative_counts", 1)
    dependence = model.batch_dependence
    if count > 1 and dependence is not None:
        batch_size = config.train_dataloader.get("batch_size", 1)
        differs = "may differ" if dependence is UNKNOWN else "differs"
        warnings.warn(
            f"optim_wrapper.accumulative_counts={count}: the update of {type(model).__name__} from {count} "
            f"batches of {batch_size} {differs} from that of one batch of {count * batch_size}, because "
            f"{dependence}.",
            stacklevel=2,
        )
