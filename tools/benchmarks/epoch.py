"""``benchmark.py epoch``: epochs of a config as shipped and with one setting changed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from rich.console import Console

from ssl_ext.apis import load_config, parse_options
from ssl_ext.errors import UserError

from .compare import show
from .options import CONFIGS
from .phases import compare_epochs, phases_table
from .workload import Workload, add_training, start_ours, training_config

CONFIG = CONFIGS / "trimix/trimix_resnet18_1xb256-adam-200e_cifar10.py"
SHIPPED, RESIDENT = "as shipped", "resident"
# Changes of the config; the device of the images is not a setting of the model.
CHANGES: dict[str, dict[str, Any]] = {
    "contiguous": dict(channels_last=False),
    "checkpointed": dict(activation_checkpointing=True),
    "compiled": dict(compile=True),
    "bf16": {"optim_wrapper.type": "BFloat16OptimWrapper"},
    RESIDENT: {},
}
ON_GPU = ("bf16", RESIDENT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=str(CONFIG), help="pretraining config (TriMix, CIFAR-10)")
    text = f"{' '.join(CHANGES)} (contiguous)"
    parser.add_argument("--variants", nargs="+", default=["contiguous"], metavar="NAME", help=text)
    add_training(
        parser,
        ("steps", 4, "steps per epoch"),
        ("workers", 0, "worker processes of each data loader", 0),
        ("images", 50_000, "images of a whole epoch, for the projection"),
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys"
    )


def run(
    console: Console,
    *,
    config: str,
    stem: str | None,
    images: int,
    cfg_options: Sequence[str],
    **settings: Any,
) -> dict[str, Any]:
    """Measure, print times and the projected length of the whole training, return the figures."""
    loaded = training_config(load_config(config, parse_options(cfg_options)), stem)
    epochs = loaded.train_cfg.max_epochs
    comparison, phases, peaks, _ = measure(loaded, **settings)
    title = f"epoch: batch {settings['batch_size']}, {settings['size']} px, {Path(config).stem}"
    hours = {name: epochs * images / comparison.rate(name) / 3600 for name in comparison.seconds}
    text = "{}: {} epochs of {:,} images would take {:.2f} h."
    sentences = (text.format(name, epochs, images, value) for name, value in hours.items())
    show(console, comparison, title + (f", {stem} stem" if stem else ""), *sentences)
    console.print(phases_table(phases, "milliseconds per step", peaks))
    return dict(comparison.figures(), phases=phases, peak_device_bytes_by_variant=peaks, max_epochs=epochs)


def measure(
    config: Config,
    *,
    variants: Sequence[str],
    batch_size: int,
    size: int,
    steps: int,
    workers: int,
    pairs: int,
) -> tuple:
    """Time epochs of the runner; returns those of :func:`compare_epochs`.

    Raises:
        UserError: An unknown variant, or a variant that needs a GPU without one.
    """
    for name in variants:
        if name not in CHANGES:
            raise UserError(f"--variants has {name!r}; allowed are {', '.join(CHANGES)}.")
        if name in ON_GPU and not torch.cuda.is_available():
            raise UserError(f"--variants has {name!r}, which needs a GPU; there is none.")
    starts = [
        partial(start_ours, name=name, changes=CHANGES.get(name), device="cuda" if name == RESIDENT else None)
        for name in dict.fromkeys((SHIPPED, *variants))
    ]
    return compare_epochs(Workload(config, batch_size, size, steps, workers), starts, pairs)
