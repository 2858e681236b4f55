"""A training step as ``tools/train.py`` takes it against the bare loop on ready tensors."""

import copy
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch import Tensor, nn

from ssl_ext.apis import build_model, load_config
from ssl_ext.apis.pretrain import MONITORS, build_runner
from ssl_ext.benchmarks.pairs import Comparison, compare
from ssl_ext.config.training import check_batches
from ssl_ext.datasets import ArrayDataset
from ssl_ext.errors import UserError
from ssl_ext.registry import LOOPS, OPTIMIZERS

RUNNER, BARE = "PretrainRunner", "bare loop"
STEMS = {"imagenet": "ResNet", "cifar": "ResNet_CIFAR"}
TARGET = 1.08
WARMUP = 1


def benchmark_step(
    config: Config | str | os.PathLike,
    *,
    pairs: int = 5,
    threads: int | None = None,
    batch_size: int = 256,
    size: int = 32,
    steps: int = 4,
    stem: str | None = None,
) -> Comparison:
    """Time ``steps`` training steps through the runner and in a bare loop, in turn; items are images.

    The runner's are epochs of ``steps`` batches: data loader over random images in memory, augmentation,
    every hook of the config but checkpoints and monitors, log lines written. The bare loop has
    forward, loss, backward and optimiser step of an equal network on views that were drawn before.
    The speedup of the bare loop over the runner is what a step costs more in the runner (``TARGET``).

    Args:
        config: A pretraining config, or the path of a config file; its data set is not read.
        pairs: Rounds, at least 5.
        threads: Torch's number of threads; by default unchanged.
        batch_size: Images per step.
        size: Their side in pixels.
        steps: Steps per call.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.

    Raises:
        UserError: Bad config, unknown stem, mixed precision (the bare loop has none).
        ValueError: A number out of range.
    """
    config = step_config(config, stem, batch_size=batch_size, size=size, steps=steps, threads=threads)
    config.train_cfg = dict(type="StepComparisonLoop", pairs=pairs)
    config.train_dataloader.batch_size = batch_size
    config.setdefault("default_hooks", {})["checkpoint"] = None
    config.custom_hooks = [h for h in config.get("custom_hooks") or [] if h.type not in MONITORS]
    # Log lines are formatted and written as in any run, but the console belongs to the result.
    with (
        tempfile.TemporaryDirectory() as config.work_dir,
        redirect_stdout(io.StringIO()),
        torch_threads(threads),
    ):
        return _run(config, size, steps)


def step_config(config: Config | str | os.PathLike, stem: str | None, **numbers: int | None) -> Config:
    """Read a config whose step is measured, with the stem that was asked for.

    Raises:
        UserError: Bad config, unknown stem, mixed precision.
        ValueError: One of the numbers is below 1.
    """
    if min(number for number in numbers.values() if number is not None) < 1:
        raise ValueError(
            f"{', '.join(numbers)} must be at least 1, got {', '.join(map(str, numbers.values()))}"
        )
    config = load_config(config)
    if config.optim_wrapper.type != "OptimWrapper":
        raise UserError(f"optim_wrapper.type is {config.optim_wrapper.type!r}; allowed is 'OptimWrapper'.")
    if stem is not None:
        if stem not in STEMS:
            raise UserError(f"stem is {stem!r}; allowed are {', '.join(STEMS)}.")
        config.model.backbone.type = STEMS[stem]
    return config


def model_in_training(config: Config, *, dataset: int, device: torch.device | str | None = None) -> nn.Module:
    """The model of a config with the weights of seed 0, in its memory layout and on ``device``.

    Memory banks get an entry for each of ``dataset`` images. Without a device it is the GPU, if there is one.
    """
    set_random_seed(0)
    model = build_model(config)
    model.set_dataset_size(dataset)
    if config.get("channels_last", False):
        model = model.to(memory_format=torch.channels_last)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).train()


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Give torch this number of threads for a while; None leaves it."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        yield
    finally:
        torch.set_num_threads(before)


def _run(config: Config, size: int, steps: int) -> Comparison:
    seed = set_random_seed(config.setdefault("randomness", {}).get("seed"))
    config.randomness["seed"] = seed
    settings = config.train_dataloader
    shape = (steps * settings.batch_size, len(config.data_preprocessor.mean), size, size)
    model = build_model(config)
    random = np.random.default_rng(0)
    images, classes = random.integers(0, 256, shape, np.uint8), getattr(model, "num_classes", 1)
    dataset = ArrayDataset(
        images, random.integers(0, classes, len(images)), classes=[str(index) for index in range(classes)]
    )
    loader = Runner.build_dataloader(dict(settings, dataset=dataset), seed=seed)
    check_batches(config, loader, model)
    runner = build_runner(config, model, loader, None, False)
    runner.train()
    return runner.train_loop.comparison


@LOOPS.register_module()
class StepComparisonLoop(EpochBasedTrainLoop):
    """Alternate an epoch of the runner with as many steps of the bare loop; see :func:`benchmark_step`.

    Args:
        runner: The runner.
        dataloader: Its loader.
        pairs: Rounds, after ``WARMUP`` more.
    """

    comparison: Comparison

    def __init__(self, runner: Runner, dataloader: torch.utils.data.DataLoader, pairs: int) -> None:
        super().__init__(runner, dataloader, max_epochs=pairs + WARMUP)
        self.pairs = pairs

    def run(self) -> nn.Module:
        """Measure; the result is ``self.comparison``."""
        runner = self.runner
        model = copy.deepcopy(runner.model.module if is_model_wrapper(runner.model) else runner.model)
        data = model.data_preprocessor(next(iter(self.dataloader)), training=True)
        views, samples = data["inputs"], data["data_samples"]
        optimizer = OPTIMIZERS.build(
            dict(runner.cfg.optim_wrapper.optimizer, params=list(model.parameters()))
        )
        runner.call_hook("before_train")
        self.comparison = compare(
            {
                BARE: bare_steps(model.train(), optimizer, views, len(self.dataloader), samples),
                RUNNER: self.run_epoch,
            },
            reference=RUNNER,
            pairs=self.pairs,
            warmup=WARMUP,
            items=len(self.dataloader.dataset),
            unit="images",
        )
        runner.call_hook("after_train")
        return runner.model


def bare_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    views: Sequence[Tensor],
    steps: int,
    data_samples: dict | None = None,
) -> Callable[[], None]:
    """A function that takes ``steps`` training steps on the same views (and labels) and nothing else.

    A model with EMA networks moves them after each step, as in training.
    """

    def run() -> None:
        for step in range(steps):
            model.before_step(step + 1, step + 1)
            losses = model.loss(views, data_samples)
            total = sum(value for name, value in losses.items() if name.startswith("loss"))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            model.after_step(step + 1, steps)

    return run
