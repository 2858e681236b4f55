"""Train the model of a config."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.runner import set_random_seed
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.config.commands import after_training
from ssl_ext.config.data import build_train_loader, monitored_splits
from ssl_ext.config.epochs import set_epochs
from ssl_ext.config.networks import build_model
from ssl_ext.config.stored import INITIAL, stored_training
from ssl_ext.config.training import check_training, fit_learning_rate, training_config
from ssl_ext.engine import (
    ClusterHook,
    ConsoleHook,
    FiniteGuardHook,
    FirstStepHook,
    ModelStepHook,
    PretrainRunner,
    ProcessStateHook,
    TerminationHook,
    init_process_group,
    load_weights,
    newest_checkpoint,
)
from ssl_ext.engine.hooks.checkpoint import checkpoint_times
from ssl_ext.engine.runner import own_logs
from ssl_ext.engine.weights.checkpoint import stored_meta
from ssl_ext.engine.weights.files import RUN_INFO, weights_hash
from ssl_ext.engine.work_dir import from_first_process, locked, remove_replaced, starting_point
from ssl_ext.env import package_versions
from ssl_ext.errors import TRACEBACK_SWITCH, UserError, sentence, user_errors
from ssl_ext.files import write_text


def pretrain(
    config: Config | str | os.PathLike,
    *,
    epochs: int | None = None,
    work_dir: str | os.PathLike | None = None,
    resume: bool | str | os.PathLike = False,
    init: str | os.PathLike | None = None,
    allow_partial: bool = False,
    amp: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    compile: bool = False,
    auto_scale_lr: bool = False,
    options: dict | None = None,
    overwrite: bool = False,
    ema: bool = False,
) -> nn.Module:
    """Pretrain the model of a config, on the CPU, on one GPU or under torchrun.

    Args:
        config: A config, or the path of a config file.
        epochs: Number of epochs, at which the learning-rate schedules end; default the config's.
        work_dir: Folder of the run; default ``work_dirs/<config name>``.
        resume: True to resume from the newest checkpoint in ``work_dir`` (if there is one), or the path of
            a checkpoint to resume from. A changed length, schedule or optimiser setting is applied from the
            current step on; any other changed setting is an error.
        init: Initial weights (a checkpoint of this project or a plain backbone). Queues, banks, clusters and
            step counters are reinitialised. Ignored if ``resume`` finds a run in ``work_dir``.
        allow_partial: Accept ``init`` weights that lack tensors of the backbone, or have more layers.
        amp: Automatic mixed precision on a GPU (bfloat16 if supported, else float16 with loss scaling).
        seed: Overrides ``randomness.seed``.
        deterministic: Use deterministic kernels only; an operation without one raises an error.
        compile: Compile the backbones with ``torch.compile``.
        auto_scale_lr: Scale the learning rate from ``auto_scale_lr.base_batch_size`` images per step to those
            of this run.
        options: Config keys to override, as ``{'optim_wrapper.optimizer.lr': 1e-4}``.
        ema: Load the EMA weights of the ``init`` file (``state_dict_ema``) instead of the raw weights.
        overwrite: Replace the checkpoints of an earlier run in ``work_dir``, after the first step.

    Returns:
        The trained model, in training mode.

    Raises:
        UserError: Bad input, reported before any file is written; a ``work_dir`` in use by another run; or a
            ``work_dir`` with a run, without ``resume`` or ``overwrite``.
        KeyboardInterrupt: On Ctrl-C, after ``interrupted.pth`` was written.
    """
    config = training_config(
        config, options, epochs=epochs, work_dir=work_dir, amp=amp, seed=seed, deterministic=deterministic,
        compile=compile, auto_scale_lr=auto_scale_lr,
    )  # fmt: skip
    distributed = init_process_group()
    with ExitStack() as held:
        held.enter_context(own_logs())

        def begin() -> tuple[str | None, list[tuple[str, int]]]:
            held.enter_context(locked(config.work_dir))
            return starting_point(resume, config.work_dir, overwrite)

        resume_from, replaced = from_first_process(begin)
        if init and resume_from:
            if resume not in (True, "auto"):
                raise UserError("Give either initial weights (--init) or a run to resume (--resume).")
            # The same command starts a run and resumes it after a preemption.
            init = None
        loading = dict(allow_partial=allow_partial, ema=ema)
        changed = bool(options) or epochs is not None
        return _train(config, resume_from, init, loading, distributed, replaced, epochs, changed=changed)


def _train(
    config: Config,
    resume_from: str | None,
    init: str | os.PathLike | None,
    loading: dict[str, bool],
    distributed: bool,
    replaced: list[tuple[str, int]],
    epochs: int | None,
    *,
    changed: bool,
) -> nn.Module:
    runner = prepare(config, resume_from, init, loading, distributed, epochs)
    first_step = FirstStepHook(lambda: _write_run_info(config, checkpoint_times(runner.hooks), replaced))
    runner.register_hook(first_step)
    try:
        model = runner.train()
    except (UserError, FloatingPointError):
        raise
    except Exception as error:
        if first_step.taken:
            raise
        # The optimiser, schedules and hooks have been built, so this is a mismatch of sizes.
        raise UserError(
            f"The first training step failed: {sentence(error)} (set {TRACEBACK_SWITCH}=1 for the traceback)."
        ) from error
    if is_main_process() and (newest := newest_checkpoint(config.work_dir)):
        lines = after_training(config, newest, Path(runner.log_dir), as_written=not changed)
        runner.logger.info("\n".join(lines))
    return model


def prepare(
    config: Config,
    resume_from: str | None,
    init: str | os.PathLike | None,
    loading: dict[str, bool],
    distributed: bool,
    epochs: int | None = None,
) -> PretrainRunner:
    """Build data, model and runner of a checked config; ``loading`` are arguments of ``load_weights``.

    Raises:
        UserError: Data, model, weights or hooks do not fit the config.
    """
    if "init" in config:
        # A detector takes backbone and normalisation from its pretraining.
        from ssl_ext.detection import initialize

        init = initialize(config, init, resume_from)
    if resume_from and config.randomness.get("seed") is None:
        # It determines the order of the images.
        config.randomness.seed = stored_meta(resume_from).get("meta", {}).get("seed")
    seed, deterministic = config.randomness.get("seed"), config.randomness.get("deterministic", False)
    config.randomness.seed = set_random_seed(seed, deterministic)
    fit_learning_rate(config, get_world_size())
    loader: Any = build_train_loader(config)
    if epochs is not None:
        # Check warm-ups that are counted in steps.
        set_epochs(config, epochs, len(loader))
    # Built before training, so that wrong paths are reported now.
    splits = monitored_splits(config)
    model: Any = build_model(config)
    check_training(config, loader, model)
    with user_errors("model"):
        model.set_dataset_size(len(loader.dataset))
    if init:
        loaded = load_weights(model, init, training_state=False, **loading)
        model.sync_ema()
    if distributed and torch.cuda.is_available():
        config.setdefault("sync_bn", "torch")

    with user_errors("config"):
        runner = build_runner(config, model, loader, resume_from, distributed)
    if init:
        # Stored in checkpoints, also by a resumed run.
        about = {"path": str(init), "sha256": weights_hash(init), **stored_training(loaded.training)}
        runner.message_hub.update_info(INITIAL, about)
    runner.evaluation_splits = splits
    return runner


def build_runner(
    config: Config, model: nn.Module, loader: DataLoader, resume_from: str | None, distributed: bool
) -> PretrainRunner:
    """Build the runner of a model and its loader; makes the work dir."""
    runner = PretrainRunner(
        model=model,
        work_dir=config.work_dir,
        train_dataloader=loader,
        train_cfg=config.train_cfg,
        optim_wrapper=config.optim_wrapper,
        param_scheduler=config.get("param_scheduler"),
        default_hooks=config.get("default_hooks"),
        custom_hooks=config.get("custom_hooks"),
        load_from=resume_from,
        resume=resume_from is not None,
        launcher="pytorch" if distributed else "none",
        env_cfg=config.get("env_cfg", dict()),
        log_processor=config.get("log_processor"),
        log_level=config.get("log_level", "INFO"),
        visualizer=config.get("visualizer"),
        default_scope="ssl_ext",
        randomness=config.randomness,
        experiment_name=Path(config.work_dir).name,
        cfg=config,
    )
    for hook in (FiniteGuardHook(), TerminationHook(), ProcessStateHook(), ModelStepHook(), ConsoleHook()):
        runner.register_hook(hook)
    if model.cluster_bank is not None:
        runner.register_hook(ClusterHook())
    return runner


def _write_run_info(config: Config, checkpoints: str, replaced: list[tuple[str, int]]) -> None:
    remove_replaced(replaced)
    info = dict(
        config=config.filename,
        command=sys.argv,
        seed=config.randomness.seed,
        started=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        world_size=int(os.environ.get("WORLD_SIZE", 1)),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        threads=torch.get_num_threads(),
        checkpoints=checkpoints,
        versions=package_versions(),
    )
    write_text(Path(config.work_dir) / RUN_INFO, json.dumps(info, indent=2))
