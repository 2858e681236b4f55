"""From a config to a trained model."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner, set_random_seed
from torch import nn
from torch.utils.data import DataLoader

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
from ssl_ext.engine.checkpoint import is_complete
from ssl_ext.env import package_versions
from ssl_ext.errors import TRACEBACK_SWITCH, UserError, sentence, user_errors
from ssl_ext.files import replacing
from ssl_ext.registry import OPTIMIZERS

from .build import build_evaluation_splits, build_model, load_config
from .config_checks import check_kinds
from .evaluation_settings import read_recipes

REQUIRED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
IMAGENET_STEM_MIN = 64
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
        deterministic: Ask for deterministic kernels.
        compile: Compile the training step with ``torch.compile``.
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
        read_recipes(config)
    if hasattr(model, "set_dataset_size"):
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
        if hasattr(model, "restart_copies"):
            model.restart_copies()
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


def check_batches(config: Config, loader: DataLoader, model: nn.Module) -> None:
    """Check that data set, preprocessor and network fit together.

    Raises:
        UserError: Too few images for one batch, a batch of one, or numbers of views or channels that
            differ.
    """
    info = getattr(loader.dataset, "metainfo", {})
    batch_size = config.train_dataloader.get("batch_size", 1)
    # A detector's loss compares no images, and its batch norms see many positions of each.
    compares = getattr(model, "compares_images", True)
    if compares and batch_size < 2:
        raise UserError(
            f"train_dataloader.batch_size is {batch_size}; losses compare or mix images within a batch and "
            "need at least 2."
        )
    if len(loader) == 0:
        raise UserError(
            f"The training split has {len(loader.dataset)} images, less than one batch of {batch_size}: "
            "lower train_dataloader.batch_size."
        )
    if compares and not loader.drop_last and len(loader.sampler) % batch_size == 1:
        raise UserError(
            f"The last batch of an epoch would hold a single image ({len(loader.sampler)} images in batches "
            f"of {batch_size}): set train_dataloader.drop_last=True or another batch_size."
        )
    wanted, drawn = (getattr(m, "num_views", None) for m in (model, model.data_preprocessor))
    if wanted and drawn is not None and drawn != wanted:
        raise UserError(
            f"{type(model).__name__} compares {wanted} views of an image and the config's views give "
            f"{drawn}: change views[].repeats."
        )
    if hasattr(model, "check_dataset"):
        with user_errors("train_dataloader.dataset"):
            model.check_dataset(loader.dataset)
    channels = info.get("channels")
    expected = len(getattr(model.data_preprocessor, "mean", ())) or channels
    if channels and channels != expected:
        raise UserError(
            f"The data set has {channels} channels and data_preprocessor.mean has {expected} values: "
            "give one mean and std per channel, or load the images with as_rgb=True."
        )
    stem = next((m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is not None and channels and stem.in_channels != channels:
        raise UserError(
            f"The data set has {channels} channels and the backbone takes {stem.in_channels}: set "
            "model.backbone.in_channels, or load the images with as_rgb=True."
        )
    image_size = info.get("image_size")
    if stem is not None and image_size is not None:
        side = image_size if isinstance(image_size, int) else max(image_size)
        if side <= IMAGENET_STEM_MIN and stem.kernel_size[0] == 7:
            warnings.warn(
                f"Images of {side} px meet an ImageNet stem (7x7 convolution, stride 2, max pooling): "
                "faster, but model.backbone.type='ResNet_CIFAR' usually scores several points higher.",
                stacklevel=2,
            )


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
    if hasattr(model, "after_step"):
        runner.register_hook(ModelStepHook())
    if hasattr(model, "cluster_bank"):
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
