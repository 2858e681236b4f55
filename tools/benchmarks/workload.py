"""Training to be timed (:class:`Workload`) and its implementations (:class:`Contender`)."""

from __future__ import annotations

import argparse
import copy
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_ext.apis import build_model, load_config
from ssl_ext.apis.pretrain import build_runner
from ssl_ext.config.data import MONITORS
from ssl_ext.config.training import check_batches
from ssl_ext.datasets import ArrayDataset
from ssl_ext.errors import UserError
from ssl_ext.models.utils.channels_last import to_channels_last
from ssl_ext.registry import OPTIMIZERS

from .options import add_numbers

OURS = "ssl_ext"
CLASSES = 10
STEMS = {"imagenet": "ResNet", "cifar": "ResNet_CIFAR"}


def add_training(
    parser: argparse.ArgumentParser,
    *more: tuple,
    batch_size: int = 256,
    stem: str | None = None,
    **pairs: Any,
) -> None:
    """Add the options of the measured training, those in ``more``, and ``--pairs``."""
    shown = stem or "the config's"
    parser.add_argument("--stem", default=stem, metavar="NAME", help=f"{' '.join(STEMS)} ({shown})")
    size = ("size", 32, "side of the images in pixels")
    add_numbers(parser, ("batch-size", batch_size, "images per step"), size, *more, **pairs)


def training_config(config: Config | str | os.PathLike, stem: str | None) -> Config:
    """Read a pretraining config and set the stem of its backbone.

    Raises:
        UserError: Bad config, unknown stem, mixed precision.
    """
    config = load_config(config)
    if config.optim_wrapper.type != "OptimWrapper":
        raise UserError(f"optim_wrapper.type is {config.optim_wrapper.type!r}; allowed is 'OptimWrapper'.")
    if stem is not None:
        if stem not in STEMS:
            raise UserError(f"--stem is {stem!r}; allowed are {', '.join(STEMS)}.")
        config.model.backbone.type = STEMS[stem]
    return config


def model_in_training(
    config: Config, *, dataset: int = 1, device: torch.device | str | None = None
) -> nn.Module:
    """Build a config's model in training mode, with weights of seed 0 and the config's memory format.

    Memory banks get ``dataset`` entries. ``device`` defaults to the GPU, if any.
    """
    set_random_seed(0)
    model = build_model(config)
    model.set_dataset_size(dataset)
    if config.get("channels_last", False):
        to_channels_last(model)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).train()


def build_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser of a config for the trainable parameters."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return OPTIMIZERS.build(dict(config.optim_wrapper.optimizer, params=weights))


def train_step(
    loss: Callable[..., dict[str, Tensor]],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    *batch: Any,
) -> None:
    """Run training step ``step`` (1-based): ``loss(*batch)``, backward, optimiser, EMA updates."""
    model.before_step(step, step)
    total = sum(value for name, value in loss(*batch).items() if name.startswith("loss"))
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    model.after_step(step, step)


def bare_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    views: Sequence[Tensor],
    steps: int,
    data_samples: dict | None = None,
) -> Callable[[], None]:
    """Return a function that runs ``steps`` training steps on the same views and labels."""

    def run() -> None:
        for step in range(steps):
            train_step(model.loss, model, optimizer, step + 1, views, data_samples)

    return run


def random_batch(model: nn.Module, count: int, size: int, dataset: int | None = None) -> dict[str, Tensor]:
    """Random uint8 images (N, C, size, size), labels, and row indices of a data set of ``dataset`` images."""
    source = getattr(model, "label_source", None)
    classes = getattr(model, "num_classes", None) or getattr(source, "num_classes", 1)
    shape = (count, len(model.data_preprocessor.mean), size, size)
    return dict(
        inputs=torch.randint(0, 256, shape, dtype=torch.uint8),
        labels=torch.randint(classes, (count,)),
        indices=torch.randperm(dataset or count)[:count],
    )


@dataclass(frozen=True)
class Workload:
    """Epochs of ``steps`` batches of random images with the network, views and optimiser of a config.

    ``epochs`` is the number of epochs that will be run.
    """

    config: Config
    batch_size: int
    size: int
    steps: int
    workers: int = 0
    epochs: int = 1

    @property
    def model(self) -> ConfigDict:
        """Backbone, neck, head and predictor of the config."""
        return self.config.model

    @property
    def transforms(self) -> dict[str, dict]:
        """Settings of the augmentations of a view, by type."""
        return {transform["type"]: dict(transform) for transform in self.config.views[0].transforms}

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, size, size, C), uint8, and labels (N,), equal in every call."""
        random, count = np.random.default_rng(0), self.batch_size * self.steps
        shape = (count, self.size, self.size, len(self.config.data_preprocessor.mean))
        return random.integers(0, 256, shape, np.uint8), random.integers(0, CLASSES, count)

    def loader_settings(self) -> dict:
        """Common settings of the data loaders; workers persist between epochs."""
        workers = dict(num_workers=self.workers, persistent_workers=self.workers > 0)
        return dict(workers, batch_size=self.batch_size, drop_last=True)


@dataclass(frozen=True)
class Contender:
    """One implementation of the workload.

    Calling ``epoch`` trains for one epoch; calling ``model`` computes forward pass and loss of a step;
    ``preprocessor`` is the module that processes batches before, if any.
    """

    name: str
    epoch: Callable[[], object]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: DataLoader
    preprocessor: nn.Module | None = None


Use = Callable[[Contender], None]
Start = Callable[[Workload, Use], None]


class LendEpochs(Hook):
    """Pass a runner's epochs to a function instead of training.

    Args:
        name: Name of the contender.
        use: Called with the contender; training ends when it returns.
    """

    priority = "LOWEST"

    def __init__(self, name: str, use: Use) -> None:
        self.name = name
        self.use = use

    def before_train(self, runner: Runner) -> None:
        """Call the function, after all other hooks."""
        model, loop = runner.model, runner.train_loop
        optimizer = runner.optim_wrapper.optimizer
        self.use(
            Contender(self.name, loop.run_epoch, model, optimizer, loop.dataloader, model.data_preprocessor)
        )
        loop.stop_training = True


def start_ours(
    work: Workload, use: Use, *, name: str = OURS, changes: dict | None = None, device: str | None = None
) -> None:
    """Call ``use`` with the runner of ``tools/train.py``, without checkpoints and monitors, as a contender.

    ``changes`` are merged into the config; images are stored on ``device``, by default in host memory.
    """
    config = copy.deepcopy(work.config)
    config.merge_from_dict(changes or {})
    config.train_cfg = dict(by_epoch=True, max_epochs=work.epochs)
    config.setdefault("default_hooks", {})["checkpoint"] = None
    config.custom_hooks = [h for h in config.get("custom_hooks") or [] if h.type not in MONITORS]
    seed = set_random_seed(config.setdefault("randomness", {}).get("seed"))
    config.randomness["seed"] = seed
    config.train_dataloader.update(work.loader_settings())
    model, (images, labels) = build_model(config), work.data()
    classes = [str(label) for label in range(getattr(model, "num_classes", CLASSES))]
    dataset = ArrayDataset(
        images.transpose(0, 3, 1, 2), labels % len(classes), classes=classes, device=device
    )
    loader = Runner.build_dataloader(dict(config.train_dataloader, dataset=dataset), seed=seed)
    if loader.persistent_workers:
        loader.generator = torch.Generator()
    lend_runner(config, model, loader, name, use)


def lend_runner(config: Config, model: nn.Module, loader: DataLoader, name: str, use: Use) -> None:
    """Build the runner of a model and its loader, and call ``use`` with it as a contender."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as config.work_dir:
        warnings.simplefilter("ignore", UserWarning)  # warns of the effect of a stem on accuracy
        check_batches(config, loader, model)
        runner = build_runner(config, model, loader, None, False)
        runner.register_hook(LendEpochs(name, use))
        runner.train()


def with_contenders(
    work: Workload, starts: Sequence[Start], use: Callable[[Sequence[Contender]], None]
) -> None:
    """Start contenders, each inside the previous one, and call ``use`` with all of them.

    Log lines are formatted and written as in any run, except to the console.

    Raises:
        RuntimeError: The trained networks differ in size.
    """

    def start(remaining: Sequence[Start], contenders: list[Contender]) -> None:
        if remaining:
            remaining[0](work, lambda contender: start(remaining[1:], [*contenders, contender]))
            return
        counts = {contender.name: trained_parameters(contender.model) for contender in contenders}
        if len(set(counts.values())) > 1:
            raise RuntimeError(f"The trained networks differ in their number of parameters: {counts}.")
        use(contenders)
        for contender in contenders:  # stop the workers now: garbage collection waits 5 s for each
            contender.loader._iterator = None

    with redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("ssl_ext"):
        start(starts, [])


def trained_parameters(model: nn.Module) -> int:
    """Number of parameters that the optimiser updates; those of EMA networks are excluded."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
