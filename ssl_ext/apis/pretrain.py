"""From a config to a trained model."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner, set_random_seed
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.config.batches import check_batches
from ssl_ext.config.build import build_evaluation_splits, build_model, load_config
from ssl_ext.config.kinds import check_kinds
from ssl_ext.config.memory import check_memory_options
from ssl_ext.engine import (
    ClusterHook,
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
from ssl_ext.engine.weights.checkpoint import is_complete
from ssl_ext.env import package_versions
from ssl_ext.errors import TRACEBACK_SWITCH, UserError, sentence, user_errors
from ssl_ext.files import replacing
from ssl_ext.registry import OPTIMIZERS

from .evaluate.settings import read_recipes

REQUIRED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
MONITORS = ("ClassifierEvaluationHook", "FeatureMonitorHook", "ValidationLossHook")
REPORTS_TEST = "ClassifierEvaluationHook"


def pretrain(
    config: Config | str | os.PathLike,
    *,
    work_dir: str | os.PathLike | None = None,
    resume: bool | str | os.PathLike = False,
    init: str | os.PathLike | None = None,
    allow_partial: bool = False,
    amp: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    compile: bool = False,
    options: dict | None = None,
) -> nn.Module:
    """Pretrain the model of a config; the entry for CPU, one GPU and torchrun alike.

    Args:
        config: A config, or the path of a config file.
        work_dir: Where the run is written; default ``work_dirs/<config name>``.
        resume: True to go on from the newest checkpoint in ``work_dir`` (if there is one), or the path
            of a checkpoint to go on from.
        init: Weights to start from (this project's checkpoints or a plain backbone). Queues, banks, clusters
            and counters of steps start anew. Not looked at where ``resume`` finds a run in ``work_dir``.
        allow_partial: Accept ``init`` weights that match less than 95 % of the backbone.
        amp: Automatic mixed precision on a GPU (bfloat16 where it has it, else float16 with scaling).
        seed: Overrides ``randomness.seed``.
        deterministic: Use deterministic kernels only; one that does not exist ends the run by name.
        compile: Compile the backbones with ``torch.compile``.
        options: Config keys to override, as ``{'optim_wrapper.optimizer.lr': 1e-4}``.

    Returns:
        The trained model, in training mode.

    Raises:
        UserError: Bad input, found before any file is written.
    """
    config = load_config(config, options)
    missing = [key for key in REQUIRED if key not in config]
    if missing:
        raise UserError(f"The config lacks {', '.join(missing)}.")
    kind = config.optim_wrapper.get("optimizer", {}).get("type")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise UserError(f"optim_wrapper.optimizer: type={kind!r} is no registered optimizer.")
    name = Path(config.filename).stem if config.filename else "run"
    config.work_dir = str(work_dir or config.get("work_dir") or Path("work_dirs") / name)
    _apply_switches(config, amp=amp, seed=seed, deterministic=deterministic, compile=compile)
    check_kinds(config)
    resume_from = _find_resume(resume, config.work_dir)
    if init and resume_from:
        if not _is_auto(resume):
            raise UserError("Give either weights to start from (--init) or a run to go on from (--resume).")
        # The same command starts a run and, after a preemption, goes on with it.
        init = None
    if "init" in config:
        # Detection, whose backbone and normalisation are those of the pretraining.
        from ssl_ext.detection import initialize

        init = initialize(config, init, resume_from)

    distributed = init_process_group()
    config.randomness.seed = set_random_seed(
        config.randomness.get("seed"), config.randomness.get("deterministic", False)
    )
    with user_errors("train_dataloader"):
        loader = Runner.build_dataloader(config.train_dataloader, seed=config.randomness.seed)
    if not config.train_cfg.get("by_epoch") or loader.persistent_workers:
        # Each iterator over a loader draws a seed; a resumed run makes another iterator, and must not
        # take that seed from the stream it has restored.
        loader.generator = torch.Generator()
    model = build_model(config)
    with user_errors("config"):
        check_batches(config, loader, model)
        check_memory_options(config, model)
        read_recipes(config)
    with user_errors("model"):
        model.set_dataset_size(len(loader.dataset))
    # Loaded now for the monitors: a wrong path must show before training, not epochs later.
    monitored = "evaluation_dataset" in config and any(
        hook.type in MONITORS for hook in config.get("custom_hooks") or []
    )
    reports_test = any(hook.type == REPORTS_TEST for hook in config.get("custom_hooks") or [])
    splits = build_evaluation_splits(config, test=reports_test) if monitored else None
    if init:
        load_weights(model, init, allow_partial=allow_partial, training_state=False)
        model.sync_ema()
    if distributed and torch.cuda.is_available():
        config.setdefault("sync_bn", "torch")

    with user_errors("config"):
        runner = build_runner(config, model, loader, resume_from, distributed)
    runner.evaluation_splits = splits
    first_step = FirstStepHook(lambda: _write_run_info(config))
    runner.register_hook(first_step)
    try:
        return runner.train()
    except (UserError, FloatingPointError):
        raise
    except Exception as error:
        if first_step.taken:
            raise
        # Optimiser, schedules and hooks are built now, and whether all sizes fit together shows here.
        raise UserError(
            f"The first training step failed: {sentence(error)} (set {TRACEBACK_SWITCH}=1 to see where)."
        ) from error


def _apply_switches(
    config: Config, *, amp: bool, seed: int | None, deterministic: bool, compile: bool
) -> None:
    config.setdefault("randomness", ConfigDict())
    if seed is not None:
        config.randomness.seed = seed
    if deterministic:
        config.randomness.deterministic = True
    if config.randomness.get("deterministic"):
        # Without it torch refuses matrix products on a GPU; read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if compile:
        config.compile = True
    if amp:
        if not torch.cuda.is_available():
            raise UserError("--amp needs a GPU: on CPUs mixed precision is slower than float32.")
        config.optim_wrapper.type = "AmpOptimWrapper"
        if torch.cuda.is_bf16_supported():
            config.optim_wrapper.dtype = "bfloat16"
        else:
            config.optim_wrapper.update(dtype="float16", loss_scale="dynamic")


def _is_auto(resume: bool | str | os.PathLike) -> bool:
    return resume is True or resume == "auto"


def _find_resume(resume: bool | str | os.PathLike, work_dir: str) -> str | None:
    if _is_auto(resume):
        newest = newest_checkpoint(work_dir)
        return newest and str(newest)
    if not resume:
        return None
    if not Path(resume).is_file():
        raise UserError(
            f"--resume '{resume}' is not a file; give a checkpoint, or 'auto' for the newest one."
        )
    if not is_complete(resume):
        raise UserError(f"--resume '{resume}' is damaged or no checkpoint.")
    return str(resume)


def build_runner(
    config: Config, model: nn.Module, loader: DataLoader, resume_from: str | None, distributed: bool
) -> PretrainRunner:
    """A runner around a model and a loader that were built before; makes the work dir."""
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
    runner.register_hook(FiniteGuardHook())
    runner.register_hook(TerminationHook())
    runner.register_hook(ProcessStateHook())
    runner.register_hook(ModelStepHook())
    if model.cluster_bank is not None:
        runner.register_hook(ClusterHook())
    return runner


def _write_run_info(config: Config) -> None:
    info = dict(
        config=config.filename,
        command=sys.argv,
        seed=config.randomness.seed,
        started=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        world_size=int(os.environ.get("WORLD_SIZE", 1)),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        threads=torch.get_num_threads(),
        versions=package_versions(),
    )
    with replacing(Path(config.work_dir) / "run.json") as file:
        file.write(json.dumps(info, indent=2).encode())
