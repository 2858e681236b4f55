"""Data sets and the training loader of a config."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ssl_ext.datasets.files import data_files
from ssl_ext.errors import user_errors
from ssl_ext.evaluation import Splits, dataset_fingerprint, load_splits
from ssl_ext.registry import DATASETS

from .arguments import check_dataset

MONITORS = ("ClassifierEvaluationHook", "FeatureMonitorHook", "ValidationLossHook")
REPORTS_TEST = "ClassifierEvaluationHook"


def build_dataset(key: str, settings: dict) -> Any:
    """Build a data set; an error in its settings is a UserError that names the config key and the class."""
    check_dataset(key, settings)
    with user_errors(key):
        return DATASETS.build(copy.deepcopy(settings))


def build_train_loader(config: Config) -> DataLoader:
    """Build the training loader, shuffled by ``config.randomness.seed``.

    Raises:
        UserError: An argument rejected by data set, sampler or loader.
    """
    if dataset := config.train_dataloader.get("dataset"):
        check_dataset("train_dataloader.dataset", dataset)
    with user_errors("train_dataloader"):
        loader = Runner.build_dataloader(config.train_dataloader, seed=config.randomness.seed)
    if not config.train_cfg.get("by_epoch") or loader.persistent_workers:
        # Each iterator draws a seed. A resumed run creates one more iterator, whose seed must not come from
        # the restored global generator.
        loader.generator = torch.Generator()
    loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
    return loader


def _start_worker(prepare: Callable[[int], None], number: int) -> None:
    # A garbage collection writes to every inherited object, so the worker would copy about 90 MiB of pages.
    gc.freeze()
    prepare(number)


def build_evaluation_splits(config: Config, *, test: bool = True) -> Splits:
    """Build the splits of ``evaluation_dataset``; the test split only with ``test``.

    Without ``evaluation_dataset`` the training images are the only split.

    Raises:
        UserError: The data set cannot be built, or has neither a test nor a val split.
    """
    if config.get("evaluation_dataset") is None:
        # Random crops are for training.
        whole = {
            key: value
            for key, value in config.train_dataloader.dataset.items()
            if key != "crop" or value != "random"
        }
        return Splits(build_dataset("train_dataloader.dataset", whole))
    check_dataset("evaluation_dataset", dict(config.evaluation_dataset, split="train"))
    with user_errors("evaluation_dataset"):
        return load_splits(
            lambda split: DATASETS.build(dict(copy.deepcopy(config.evaluation_dataset), split=split)),
            test=test,
        )


def monitored_splits(config: Config) -> Splits | None:
    """Splits of ``evaluation_dataset`` that the config's monitors read; None without data or a monitor.

    The test split is built only for a :class:`ssl_ext.engine.ClassifierEvaluationHook`, which reports it.

    Raises:
        UserError: See :func:`build_evaluation_splits`.
    """
    hooks = [hook.type for hook in config.get("custom_hooks") or []]
    if config.get("evaluation_dataset") is None or not any(hook in MONITORS for hook in hooks):
        return None
    return build_evaluation_splits(config, test=REPORTS_TEST in hooks)


def data_content(splits: Splits) -> dict[str, dict[str, Any]]:
    """For each split a fingerprint of its images and labels, and its files with their MD5."""
    named = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {
        name: {"fingerprint": (dataset_fingerprint(split) or "")[:16] or None, "files": data_files(split)}
        for name, split in named.items()
        if split is not None
    }


def loading_settings(config: Config) -> dict[str, Any]:
    """``batch_size`` and ``num_workers`` with which evaluation reads images."""
    settings = config.get("evaluation", {})
    return dict(batch_size=settings.get("batch_size", 512), num_workers=settings.get("num_workers", 0))
