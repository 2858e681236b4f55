"""``benchmark.py peers``: epochs of four methods here, in lightly and in MMPretrain.

All three train the same network (the number of parameters is checked) with the same optimiser in float32 on
two views of the same random images in memory, with the same augmentations, each with its own code; only this
project's configs set ``channels_last``. solo-learn is omitted, as it needs torch 1.9.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from rich.console import Console

from ssl_ext.errors import UserError

from .compare import interval, show
from .options import CONFIGS
from .phases import compare_epochs, phases_table
from .workload import (
    OURS,
    Start,
    Workload,
    add_training,
    start_ours,
    training_config,
)

METHODS = {
    "simclr": CONFIGS / "simclr/simclr_resnet18_1xb256-adam-200e_cifar10.py",
    "barlow-twins": CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py",
    "moco": CONFIGS / "moco/moco_resnet18_1xb256-adam-200e_cifar10.py",
    "byol": CONFIGS / "byol/byol_resnet18_1xb256-adam-200e_bloodmnist.py",
}
TYPES = ("SimCLR", "BarlowTwins", "MoCo", "BYOL")
SEQUENCE = ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "RandomGrayscale"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME", help=" ".join(METHODS))
    add_training(
        parser,
        ("steps", 4, "steps per epoch"),
        ("workers", 0, "worker processes of each data loader", 0),
        stem="imagenet",
    )
    parser.add_argument("--profile", action="store_true", help="also show where an epoch spends its time")


def run(
    console: Console,
    *,
    methods: Sequence[str],
    stem: str,
    batch_size: int,
    size: int,
    steps: int,
    workers: int,
    pairs: int,
    profile: bool,
) -> dict[str, Any]:
    """Measure, print a table per method and a sentence per peer, return the figures.

    Raises:
        UserError: An unknown method or stem, a missing peer, or settings that a peer lacks.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"--methods has {method!r}; allowed are {', '.join(METHODS)}.")
    # Check all methods before measuring the first.
    configs = {method: peers_config(METHODS[method], stem, batch_size) for method in methods}
    starts, figures, ratios = peer_starts(), {}, {}
    for method, config in configs.items():
        work = Workload(config, batch_size, size, steps, workers)
        comparison, phases, _, parameters = compare_epochs(work, starts, pairs, profile)
        title = f"{method}, {stem} stem, batch {batch_size}, {size} px"
        show(console, comparison, f"{title}, workers: {workers}")
        if phases:
            console.print(phases_table(phases, f"{method}: milliseconds per step"))
        ratios[method] = {name: comparison.speedup(name) for name in comparison.seconds if name != OURS}
        figures[method] = dict(comparison.figures(), trained_parameters=parameters, profile=phases)
    console.print(
        "channels_last is set in this project's configs as shipped; the peers have no such setting."
    )
    for peer in next(iter(ratios.values())):
        texts = (f"{interval(ratio[peer])} the time for {method}" for method, ratio in ratios.items())
        text = f"Against {peer}, an epoch of this project takes {', '.join(texts)}; the target is below 1×."
        console.print(text, soft_wrap=True, highlight=False)
    return dict(methods=figures)


def peer_starts() -> list[Start]:
    """The three contenders; MMPretrain is last, as its classes read settings of the newest runner.

    Raises:
        UserError: lightly is missing.
    """
    if find_spec("lightly") is None:
        raise UserError("The package lightly is missing; install the peers with: pip install -e .[bench]")
    # Imported here: it takes seconds, and lightly is an optional dependency.
    from .peers_lightly import start_lightly
    from .peers_mmpretrain import start_mmpretrain

    return [start_ours, start_lightly, start_mmpretrain]


def peers_config(config: Any, stem: str | None, batch_size: int) -> Config:
    """Read a config that all three can train, with ``SplitBN``, which the peers lack, as plain batch norm.

    Raises:
        UserError: Bad config, unknown stem, or a method or views that the peers lack.
    """
    config = training_config(config, stem)
    if config.model.type not in TYPES:
        raise UserError(f"model.type is {config.model.type!r}; the peers have {', '.join(TYPES)}.")
    views = config.views
    drawn = [transform["type"] for transform in views[0].transforms]
    if len(views) > 1 or views[0].get("repeats") != 2 or drawn != SEQUENCE:
        raise UserError(f"views must be two of {', '.join(SEQUENCE)}; the first draws {drawn}.")
    queue_size = config.model.get("queue_size", batch_size)
    if queue_size % batch_size:
        raise UserError(f"--batch-size is {batch_size}; MMPretrain's MoCo needs a divisor of {queue_size}.")
    for part, norm in (("backbone", "BN"), ("neck", "BN1d")):
        if config.model[part].get("norm_cfg", {}).get("type") == "SplitBN":
            config.model[part].norm_cfg = dict(type=norm)
    return config
