"""Time and memory of a training, from its first steps."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DefaultScope

from ssl_ext.apis.pretrain import own_logs, prepare
from ssl_ext.config.data import build_evaluation_splits
from ssl_ext.config.load import parse_options
from ssl_ext.config.training import training_config
from ssl_ext.engine.hooks.monitoring import bare_model
from ssl_ext.env import peak_resident_bytes
from ssl_ext.evaluation import extract_features
from ssl_ext.models.evaluated import EvaluatedModel

# Three steps, and further ones for three seconds; twelve include a line of the log.
STEPS, MOST, SECONDS = 3, 12, 3.0
WARMUP = 1  # the first step allocates memory and the optimiser's state
CAPTURE = 4  # on a GPU three eager steps and the capture come first
USABLE = 0.95  # of a GPU's memory


@dataclass(frozen=True)
class Measured:
    """Measurements of a training in its own process; times in seconds, memory in bytes.

    Attributes:
        start: Time from the start of the process to the first step.
        step: Mean time of a step.
        epochs: Epochs; None for a training by steps.
        steps: Steps of the whole training.
        monitors: Time of each hook that runs after an epoch, and how often it runs.
        batch: Images per step and process.
        resident: Peak resident memory.
        device: Peak memory reserved on the GPU; None without one.
        largest_batch: Largest number of images that fits the GPU, extrapolated from two points: the memory
            before and at the peak of a step. None without a GPU.
        image: Time to compute the features of an image for the evaluation.
        images: Images of the evaluation's splits; 0 without evaluation data.
    """

    start: float
    step: float
    epochs: int | None
    steps: int
    monitors: dict[str, tuple[float, int]]
    batch: int
    resident: int
    device: int | None
    largest_batch: int | None
    image: float
    images: int

    @property
    def training(self) -> float:
        """Seconds of the whole training."""
        return self.start + self.step * self.steps + sum(once * n for once, n in self.monitors.values())

    @property
    def features(self) -> float:
        """Seconds to compute the features of an evaluation."""
        return self.image * self.images


class _Enough(Exception):
    """The steps have been measured."""


class Stopwatch(Hook):
    """Time the steps of a training, then each hook that runs after an epoch, and end the training.

    Args:
        since: Unix time at which the process was started.
    """

    priority = "LOWEST"

    def __init__(self, since: float) -> None:
        self.since, self.start = since, 0.0
        self.steps: list[float] = []
        self.monitors: dict[str, tuple[float, int]] = {}
        self.idle = 0
        self.last: float | None = None
        self.warmup = WARMUP

    def before_train(self, runner: Any) -> None:
        """Note how many steps come before the measured ones."""
        if torch.cuda.is_available() and runner.cfg.get("captured_step", "auto"):
            self.warmup = CAPTURE

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note the time of the first step, and the memory between steps."""
        if not self.start:
            self.start = time.time() - self.since
        if torch.cuda.is_available():
            self.idle = torch.cuda.memory_allocated()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Time the step with the loading of its batch; after the last one, time the hooks."""
        end = _now()
        if self.last is not None:
            self.steps.append(end - self.last)
        self.last = end
        taken = self.steps[self.warmup - 1 :]
        enough = len(taken) >= STEPS and (len(taken) >= MOST or sum(taken) >= SECONDS)
        if taken and (enough or runner.iter + 1 >= runner.max_iters):
            self.steps = taken
            if runner.max_epochs is not None:
                self._time_monitors(runner)
            raise _Enough

    def after_train_epoch(self, runner: Any) -> None:
        """Exclude the other hooks from the time of the next step."""
        self.last = _now()

    def _time_monitors(self, runner: Any) -> None:
        epochs = runner.max_epochs
        runner.train_loop._epoch = epochs - 1  # every hook measures after the last epoch
        for hook in runner.hooks:
            if hook is self or type(hook).after_train_epoch is Hook.after_train_epoch:
                continue
            seconds = timed(partial(hook.after_train_epoch, runner))
            interval = hook.interval if "interval" in vars(hook) else 1
            if isinstance(hook, CheckpointHook) and not hook.by_epoch:
                interval = epochs
            self.monitors[type(hook).__name__] = seconds, math.ceil(epochs / max(1, interval))


def measure(config: str, options: Sequence[str], since: float, **switches: bool) -> Measured:
    """Run the first steps of a training, with its data and hooks, in a folder that is removed afterwards.

    The process must do nothing else.

    Args:
        config: Path of the config.
        options: Overrides, as ``'key=value'``.
        since: Unix time at which the process was started.
        switches: ``amp``, ``compile`` and the like (:func:`ssl_ext.config.training.training_config`).

    Raises:
        UserError: The config cannot be trained, or its data are missing.
    """
    watch = Stopwatch(since)
    with contextlib.ExitStack() as held:
        held.enter_context(contextlib.redirect_stdout(io.StringIO()))
        held.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        held.enter_context(own_logs())
        held.enter_context(DefaultScope.overwrite_default_scope("ssl_ext"))
        folder = held.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        loaded = training_config(config, parse_options(options), work_dir=folder, **switches)
        runner = prepare(loaded, None, None, {}, False)
        runner.register_hook(watch)
        with contextlib.suppress(_Enough):
            runner.train()
        image, images = _features(runner) if "evaluation_dataset" in loaded else (0.0, 0)
    batch = loaded.train_dataloader.get("batch_size", 1)
    reserved = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
    return Measured(
        start=watch.start,
        step=statistics.fmean(watch.steps),
        epochs=runner.max_epochs,
        steps=runner.max_iters,
        monitors=watch.monitors,
        batch=batch,
        resident=peak_resident_bytes(),
        device=reserved,
        largest_batch=_largest_batch(batch, watch.idle, reserved) if reserved else None,
        image=image,
        images=images,
    )


def _features(runner: Any) -> tuple[float, int]:
    """Seconds to compute the features of an image, and the number of images of the evaluation."""
    splits = build_evaluation_splits(runner.cfg)
    parts = [part for part in (splits.train, splits.val, splits.test) if part is not None]
    model: Any = bare_model(runner)
    network = EvaluatedModel(model)
    settings = runner.cfg.get("evaluation", {})
    size = min(settings.get("batch_size", 512), len(splits.train))

    def embed() -> None:
        extract_features(network.embed, splits.train, batch_size=size, rows=torch.arange(size), model=model)

    embed()
    return timed(embed) / size, sum(map(len, parts))


def _largest_batch(batch: int, idle: int, peak: int) -> int:
    """Images per step that fit the GPU."""
    per_image = max(1.0, (peak - idle) / batch)
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return int((USABLE * total - idle) / per_image)


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call, with the work that it starts on a GPU."""
    start = _now()
    call()
    return _now() - start


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
