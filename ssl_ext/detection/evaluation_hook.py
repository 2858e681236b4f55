"""Hook that measures average precision on held-out images during and after training."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ssl_ext.engine.hooks.monitoring import bare_model, check_positive
from ssl_ext.engine.hooks.random_state import kept_random_state
from ssl_ext.errors import UserError, user_errors
from ssl_ext.evaluation import evaluation_mode
from ssl_ext.files import write_text
from ssl_ext.json_files import read_json
from ssl_ext.registry import DATASETS, HOOKS

from .collate import collate_detection
from .evaluator import DetectionEvaluator

FILE = "detection.json"
SECONDS = "training_seconds"
LOGGED = ("AP", "AP50", "AP75", "voc07_AP50")


@dataclass
class Table:
    """Fields read from ``detection.json``: one row per measurement."""

    rows: list[Annotated[dict[str, Any], {"step": int}]]


@torch.no_grad()
def detect(
    model: Any, dataset: Dataset, *, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[dict[str, Tensor], dict]]:
    """Yield the detections of a :class:`FasterRCNN` and the data sample of every image, in order.

    Boxes of both are in pixels of the original image, on the CPU.
    """
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=collate_detection)
    with evaluation_mode(model):
        for batch in loader:
            found = model.predict(**model.data_preprocessor(dict(batch), False))
            for one, sample in zip(found, batch["data_samples"], strict=True):
                yield {name: value.cpu() for name, value in one.items()}, sample


@HOOKS.register_module()
class DetectionEvaluationHook(Hook):
    """Evaluate the detector on ``evaluation_dataset`` and write average precisions to ``detection.json``.

    Each process evaluates a part of the images. Random states are restored.

    Args:
        interval: Iterations between measurements; None: only at the end of training.
        batch_size: Images per batch and process.
        num_workers: Processes that decode images, per training process.
    """

    # After the checkpoint hook, so that a slow measurement does not delay the checkpoint.
    priority = "LOWEST"

    def __init__(self, interval: int | None = None, batch_size: int = 1, num_workers: int = 0) -> None:
        check_positive("DetectionEvaluationHook", interval=interval or 1, batch_size=batch_size)
        self.interval = interval
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.dataset: Any = None
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.started = 0.0

    def before_run(self, runner: Runner) -> None:
        """Build the data set, so that errors are reported before training.

        Raises:
            UserError: There is no ``evaluation_dataset``, it cannot be built, its classes differ from
                those of the training data, or a group has images in both.
        """
        if "evaluation_dataset" not in runner.cfg:
            raise UserError("DetectionEvaluationHook needs the config key evaluation_dataset.")
        with user_errors("evaluation_dataset"):
            self.dataset = DATASETS.build(copy.deepcopy(runner.cfg.evaluation_dataset))
        both = (runner.train_dataloader.dataset, self.dataset)
        trained, measured = (tuple(dataset.metainfo["classes"]) for dataset in both)
        if trained != measured:
            raise UserError(f"evaluation_dataset has the classes {measured} and the training data {trained}.")
        groups = [dataset.groups for dataset in both if dataset.groups is not None]
        if len(groups) == 2 and len(shared := np.intersect1d(*groups)):
            raise UserError(
                f"the group '{shared[0]}' has images in evaluation_dataset and in the training data, which "
                "inflates results: assign every group (patient, slide, video) to one split."
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the training time of the resumed run."""
        if runner._resume:
            self.seconds = checkpoint.get(SECONDS, 0.0)

    def before_train(self, runner: Runner) -> None:
        """Read the rows of a resumed run and start the clock.

        Raises:
            UserError: ``detection.json`` is damaged.
        """
        path = Path(runner.work_dir) / FILE
        if runner._resume and path.exists():
            self.rows = read_json(path, Table, "a detection.json of training").rows
        self.started = time.perf_counter()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the training time in the checkpoint."""
        checkpoint[SECONDS] = self.training_seconds()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Measure at every interval; :meth:`after_train` measures the last iteration."""
        step = runner.iter + 1
        if self.interval and step % self.interval == 0 and step < runner.max_iters:
            self.measure(runner, step)

    def after_train(self, runner: Runner) -> None:
        """Measure at the end, also if a resumed run has no iteration left."""
        self.measure(runner, runner.iter)

    def training_seconds(self) -> float:
        """Wall-clock training time in seconds, without measurements and iterations lost by a stop."""
        return self.seconds + time.perf_counter() - self.started

    def measure(self, runner: Runner, step: int) -> None:
        """Evaluate, log the results and add a row to ``detection.json``."""
        self.seconds = self.training_seconds()
        rows = Subset(self.dataset, range(get_rank(), len(self.dataset), get_world_size()))
        evaluator = DetectionEvaluator(self.dataset.metainfo["classes"])
        with kept_random_state():
            for found, sample in detect(
                bare_model(runner), rows, batch_size=self.batch_size, num_workers=self.num_workers
            ):
                evaluator.add([found], [sample])
        figures = evaluator.compute()
        if is_main_process():
            self.write(runner, step, figures)
        self.started = time.perf_counter()

    def write(self, runner: Runner, step: int, figures: dict) -> None:
        """Write one row per measurement; rows of later steps (of a killed run) are dropped."""
        path = Path(runner.work_dir) / FILE
        self.rows = [row for row in self.rows if row["step"] < step]
        self.rows.append(dict(step=step, training_seconds=round(self.seconds, 1), **plain(figures)))
        table = dict(
            config=runner.cfg.filename,
            seed=runner.seed,
            checkpoint=(runner.cfg.get("init") or {}).get("checkpoint"),
            threads=torch.get_num_threads(),
            processes=get_world_size(),
            rows=self.rows,
        )
        write_text(path, json.dumps(table, indent=2, allow_nan=False))
        scalars = {name: value for name, value in figures.items() if isinstance(value, float)}
        runner.visualizer.add_scalars(
            dict(scalars, iter=step), step=step, file_path=f"{runner.timestamp}.json"
        )
        words = "  ".join(f"{name}: {scalars[name]:.4f}" for name in LOGGED)
        runner.logger.info(f"Iter({step}) {words}  after {self.seconds:.0f} s of training")


def plain(value: Any) -> Any:
    """Convert values for JSON: NaN (a class without boxes) becomes None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
