"""``benchmark.py epoch``: epochs of a config as shipped and with one setting changed, in turn."""

import argparse
import copy
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from ssl_ext.apis import load_config, parse_options
from ssl_ext.benchmarks.pairs import MIN_PAIRS, PEERS, Comparison, add_numbers, add_pairs, compare, say, show
from ssl_ext.benchmarks.peers_profile import DATA, PHASES, REST, profile_epoch
from ssl_ext.benchmarks.peers_ssl_ext import start_ssl_ext
from ssl_ext.benchmarks.peers_work import Start, Then, Way, Work, check_rounds, random_images, start_all
from ssl_ext.benchmarks.step import STEMS, step_config, torch_threads
from ssl_ext.errors import UserError

HELP = "epochs of a config, as shipped and with one setting changed"
CONFIG = Path(__file__).parents[2] / "configs/trimix/trimix_resnet18_1xb256-adam-200e_cifar10.py"
SHIPPED, RESIDENT = "as shipped", "resident"
# What is changed in a config; images that stay on the GPU are no setting of the model.
CHANGES: dict[str, dict[str, Any]] = {
    "contiguous": dict(channels_last=False),
    "checkpointed": dict(activation_checkpointing=True),
    "compiled": dict(compile=True),
    "bf16": {"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.dtype": "bfloat16"},
    RESIDENT: {},
}
ON_GPU = ("bf16", RESIDENT)
IMAGES = 50_000
WARMUP = 1


@dataclass(frozen=True)
class EpochResult:
    """Times of every variant, seconds per step of its phases, and its peak of device memory in bytes."""

    comparison: Comparison
    phases: Mapping[str, Mapping[str, float]]
    peak_device: Mapping[str, int | None]
    max_epochs: int


def benchmark_epoch(
    config: Config | str | os.PathLike,
    *,
    variants: Sequence[str] = ("contiguous",),
    stem: str | None = None,
    batch_size: int = 256,
    size: int = 32,
    steps: int = 4,
    workers: int = 0,
    pairs: int = MIN_PAIRS,
    threads: int | None = None,
) -> EpochResult:
    """Time epochs of ``steps`` batches of random images through the runner; items are images.

    The reference is the config as it is. Of each variant one epoch more is taken apart into phases, during
    which a GPU is waited for at every border.

    Args:
        config: A pretraining config in float32; its data set is not read.
        variants: Names of :data:`CHANGES`; ``bf16`` and ``resident`` (images kept there) want a GPU.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.
        batch_size: Images per step.
        size: Their side in pixels.
        steps: Steps per epoch.
        workers: Worker processes of the data loaders.
        pairs: Rounds, at least 5.
        threads: Torch's number of threads; by default unchanged.

    Raises:
        UserError: Bad config, unknown stem or variant, a variant that wants a GPU where there is none.
        ValueError: A number out of range.
    """
    check_rounds(pairs, workers)
    for name in variants:
        if name not in CHANGES:
            raise UserError(f"--variants has {name!r}; allowed are {', '.join(CHANGES)}.")
        if name in ON_GPU and not torch.cuda.is_available():
            raise UserError(f"--variants has {name!r}, which needs a GPU; there is none.")
    config = step_config(config, stem, batch_size=batch_size, size=size, steps=steps, threads=threads)
    config.train_dataloader.batch_size = batch_size
    max_epochs = config.train_cfg.max_epochs
    images, labels = random_images(batch_size * steps, size)
    results: list[EpochResult] = []

    def measure(ways: Sequence[Way]) -> None:
        comparison = compare(
            {way.name: way.epoch for way in ways},
            reference=ways[0].name,
            pairs=pairs,
            warmup=WARMUP,
            items=batch_size * steps,
            unit="images",
        )
        phases, peaks = {}, {}
        for way in ways:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            phases[way.name] = profile_epoch(way, steps)
            peaks[way.name] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        results.append(EpochResult(comparison, phases, peaks, max_epochs))

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), torch_threads(threads):
        work = Work(config, images, labels, WARMUP + pairs + 1, workers, folder)
        start_all(work, [_start(name) for name in dict.fromkeys((SHIPPED, *variants))], measure)
    return results[0]


def _start(name: str) -> Start:
    def start(work: Work, then: Then) -> None:
        config = copy.deepcopy(work.config)
        config.merge_from_dict(CHANGES.get(name, {}))
        device = "cuda" if name == RESIDENT else None
        start_ssl_ext(replace(work, config=config), then, name=name, device=device)

    return start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--config", default=str(CONFIG), help="pretraining config (TriMix, CIFAR-10)")
    names = f"{' '.join(CHANGES)} (contiguous)"
    parser.add_argument("--variants", nargs="+", default=["contiguous"], metavar="NAME", help=names)
    parser.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")
    add_numbers(
        parser,
        ("batch-size", 256, "images per step"),
        ("size", 32, "side of the images in pixels"),
        ("steps", 4, "steps per epoch"),
        ("workers", 0, "worker processes of each data loader"),
        ("images", IMAGES, "images of a whole epoch, for the projection"),
    )
    add_pairs(parser)
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override keys")


def run(
    console: Console, *, config: str, images: int, cfg_options: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Measure, print the tables and how long the whole training would take, return the figures."""
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    result = benchmark_epoch(load_config(config, parse_options(cfg_options)), **settings)
    title = f"epoch: batch {settings['batch_size']}, {settings['size']} px, {Path(config).stem}"
    title += f", {settings['stem']} stem" if settings["stem"] else ""
    show(result.comparison, title, *PEERS, console=console)
    console.print(_phases_table(result))
    for name in result.comparison.seconds:
        hours = result.max_epochs * images / result.comparison.rate(name) / 3600
        say(console, f"{name}: {result.max_epochs} epochs of {images:,} images would take {hours:.2f} h.")
    return dict(
        result.comparison.figures(),
        phases=result.phases,
        peak_device_bytes_by_variant=result.peak_device,
        max_epochs=result.max_epochs,
    )


def share_outside(seconds: Mapping[str, float]) -> float:
    """Share of a step that is neither forward pass and loss nor backward pass nor optimiser.

    >>> share_outside({"data": 1.0, "forward + loss": 4.0, "backward": 9.0, "optimiser": 5.0, "rest": 1.0})
    0.1
    """
    return (seconds[DATA] + seconds[REST]) / sum(seconds.values())


def _phases_table(result: EpochResult) -> Table:
    table = Table("what", title="milliseconds per step", caption="one epoch more, after the rounds")
    for heading in (*PHASES, "outside %", "device MiB"):
        table.add_column(heading, justify="right")
    for name, seconds in result.phases.items():
        peak = result.peak_device[name]
        memory = "–" if peak is None else f"{peak / 2**20:,.0f}"
        figures = (f"{seconds[phase] * 1e3:,.1f}" for phase in PHASES)
        table.add_row(name, *figures, f"{100 * share_outside(seconds):.1f}", memory)
    return table
