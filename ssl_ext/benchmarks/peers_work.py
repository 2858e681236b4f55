"""The work that this project and its peers are timed at, and one way of doing it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ssl_ext.benchmarks.pairs import MIN_PAIRS
from ssl_ext.benchmarks.step import step_config
from ssl_ext.errors import UserError

CLASSES = 10
SEQUENCE = ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "RandomGrayscale"]
# What every one of the three has: type of the model in this project's configs and in MMPretrain's.
MODELS = ("SimCLR", "BarlowTwins", "MoCo", "BYOL")


@dataclass(frozen=True)
class Work:
    """Epochs over random images in memory with the network, views and optimiser of a config.

    ``config`` is one of :func:`peers_config`, ``images`` uint8 (N, H, W, 3), ``labels`` integers (N,),
    ``epochs`` how many will be asked for, ``folder`` where logs go.
    """

    config: Config
    images: np.ndarray
    labels: np.ndarray
    epochs: int
    workers: int
    folder: str

    @property
    def model(self) -> ConfigDict:
        """Backbone, neck, head and predictor of the config."""
        return self.config.model

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self.config.train_dataloader.batch_size

    @property
    def size(self) -> int:
        """Side of images and views in pixels."""
        return self.images.shape[1]

    @cached_property
    def transforms(self) -> dict[str, dict]:
        """Settings of the four operations of a view, by type."""
        return {transform["type"]: dict(transform) for transform in self.config.views[0].transforms}

    def loader_settings(self) -> dict:
        """What the three data loaders have in common; workers live on from epoch to epoch."""
        return dict(
            batch_size=self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            drop_last=True,
        )


@dataclass(frozen=True)
class Way:
    """One way of doing the work.

    Calling ``epoch`` trains for one epoch, calling ``model`` is forward pass and loss of a step;
    ``preprocessor`` is what batches pass before that, if it is a module.
    """

    name: str
    epoch: Callable[[], object]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    preprocessor: nn.Module | None = None


Then = Callable[[Way], None]
Start = Callable[[Work, Then], None]


class EpochsInTurn(Hook):
    """Lend a runner's epochs, in the place where it would take them, to a function.

    Args:
        name: What the way is called.
        then: Gets the way; when it returns, training is over.
    """

    priority = "LOWEST"

    def __init__(self, name: str, then: Then) -> None:
        self.name = name
        self.then = then

    def before_train(self, runner: Runner) -> None:
        """Call the function; every other hook is ready by now."""
        model, loop = runner.model, runner.train_loop
        self.then(
            Way(self.name, loop.run_epoch, model, runner.optim_wrapper.optimizer, model.data_preprocessor)
        )
        loop.stop_training = True
        end_workers(loop.dataloader)


def end_workers(loader: DataLoader) -> None:
    """End the workers that a loader keeps; left to the garbage collector, each would be waited for 5 s."""
    loader._iterator = None


def start_all(work: Work, starts: Sequence[Start], then: Callable[[Sequence[Way]], None]) -> None:
    """Start several ways, one within the other, and call ``then`` with all of them.

    Raises:
        RuntimeError: The networks that they train differ in size.
    """

    def start(remaining: Sequence[Start], ways: list[Way]) -> None:
        if remaining:
            remaining[0](work, lambda way: start(remaining[1:], [*ways, way]))
            return
        counts = {way.name: trained_parameters(way.model) for way in ways}
        if len(set(counts.values())) > 1:
            raise RuntimeError(f"The trained networks differ in their number of parameters: {counts}.")
        then(ways)

    start(starts, [])


def trained_parameters(model: nn.Module) -> int:
    """Number of parameters that the optimiser changes; those of momentum copies are not."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def peers_config(
    config: Config | str | os.PathLike,
    *,
    stem: str | None,
    batch_size: int,
    size: int,
    steps: int,
    threads: int | None = None,
) -> Config:
    """A config as all three can train it.

    ``SplitBN``, which no peer has, becomes plain batch normalisation.

    Raises:
        UserError: Bad config, unknown stem, a method or views that the peers have not.
        ValueError: A number below 1.
    """
    numbers = dict(batch_size=batch_size, size=size, steps=steps, threads=threads)
    config = step_config(config, stem, **numbers)
    if config.model.type not in MODELS:
        raise UserError(f"model.type is {config.model.type!r}; the peers have {', '.join(MODELS)}.")
    views = config.views
    drawn = [transform["type"] for transform in views[0].transforms]
    if len(views) > 1 or views[0].get("repeats") != 2 or drawn != SEQUENCE:
        raise UserError(f"views must be two alike of {', '.join(SEQUENCE)}; the first draws {drawn}.")
    queue_size = config.model.get("queue_size", batch_size)
    if queue_size % batch_size:
        raise UserError(f"batch_size is {batch_size}; MMPretrain's MoCo wants a divisor of {queue_size}.")
    for part, norm in (("backbone", "BN"), ("neck", "BN1d")):
        if config.model[part].get("norm_cfg", {}).get("type") == "SplitBN":
            config.model[part].norm_cfg = dict(type=norm)
    config.train_dataloader.batch_size = batch_size
    return config


def check_rounds(pairs: int, workers: int) -> None:
    """Raise ValueError for too few rounds, or a number of workers below 0."""
    if pairs < MIN_PAIRS or workers < 0:
        raise ValueError(
            f"pairs must be at least {MIN_PAIRS} and workers at least 0, got {pairs} and {workers}"
        )


def random_images(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Uint8 images (N, size, size, 3) and labels (N,), the same in every call."""
    random = np.random.default_rng(0)
    return (
        random.integers(0, 256, (count, size, size, 3), np.uint8),
        random.integers(0, CLASSES, count),
    )
