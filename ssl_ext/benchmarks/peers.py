"""Epochs of four methods through this project and through its peers, lightly and MMPretrain, in turn.

The three train the same network (with as many parameters, which is checked) and optimiser in float32, on two
views of the same random images in memory, drawn with the same sequence and number of worker processes. Each
does so in its own way: :mod:`.peers_ssl_ext`, :mod:`.peers_lightly`, :mod:`.peers_mmpretrain`. Only this
project's configs ship ``channels_last``. Another peer, solo-learn, is left out: it wants torch 1.9.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table

from ssl_ext.benchmarks.pairs import (
    Comparison,
    add_numbers,
    add_pairs,
    compare,
    comparison_table,
    environment_line,
    say,
)
from ssl_ext.benchmarks.peers_profile import PHASES, profile_epoch
from ssl_ext.benchmarks.peers_ssl_ext import NAME as OURS
from ssl_ext.benchmarks.peers_ssl_ext import start_ssl_ext
from ssl_ext.benchmarks.peers_work import (
    Start,
    Way,
    Work,
    check_rounds,
    peers_config,
    random_images,
    start_all,
    trained_parameters,
)
from ssl_ext.benchmarks.step import STEMS, torch_threads
from ssl_ext.errors import UserError

HELP = "epochs of SimCLR, Barlow Twins, MoCo v2 and BYOL, here and through lightly and MMPretrain"
CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = {
    "simclr": CONFIGS / "simclr/simclr_resnet18_1xb256-adam-200e_cifar10.py",
    "barlow-twins": CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py",
    "moco": CONFIGS / "moco/moco_resnet18_1xb256-adam-200e_cifar10.py",
    "byol": CONFIGS / "byol/byol_resnet18_1xb256-adam-200e_bloodmnist.py",
}
DISTRIBUTIONS = ("lightly", "onedl-mmpretrain", "onedl-mmengine", "torchvision", "pillow", "opencv-python")
LAYOUT = "Memory layout channels_last: in this project's configs as shipped; the peers' have none."
WARMUP = 1


@dataclass(frozen=True)
class PeersResult:
    """Times of the three ways; with a profile, seconds per step of each phase; trained parameters."""

    comparison: Comparison
    parameters: int
    profile: Mapping[str, Mapping[str, float]] | None


def benchmark_peers(
    config: Config | str | os.PathLike,
    *,
    stem: str | None = None,
    batch_size: int = 256,
    size: int = 32,
    steps: int = 4,
    workers: int = 0,
    pairs: int = 5,
    threads: int | None = None,
    profile: bool = False,
) -> PeersResult:
    """Time epochs of ``steps`` batches through this project, lightly and MMPretrain; items are images.

    The reference is this project, so the speedup of a peer is how many times its epoch this project's takes.

    Args:
        config: A pretraining config of SimCLR, Barlow Twins, MoCo or BYOL; its data set is not read.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.
        batch_size: Images per step.
        size: Their side in pixels.
        steps: Steps per epoch.
        workers: Worker processes of each data loader.
        pairs: Rounds, at least 5.
        threads: Torch's number of threads; by default unchanged.
        profile: Also take one epoch more of each apart.

    Raises:
        UserError: Bad config, unknown stem, a peer that is not installed, settings that a peer does not take.
        ValueError: A number out of range.
    """
    check_rounds(pairs, workers)
    starts = _starts()
    config = peers_config(config, stem=stem, batch_size=batch_size, size=size, steps=steps, threads=threads)
    results: list[PeersResult] = []

    def measure(ways: Sequence[Way]) -> None:
        comparison = compare(
            {way.name: way.epoch for way in ways},
            reference=OURS,
            pairs=pairs,
            warmup=WARMUP,
            items=batch_size * steps,
            unit="images",
        )
        phases = {way.name: profile_epoch(way, steps) for way in ways} if profile else None
        results.append(PeersResult(comparison, trained_parameters(ways[0].model), phases))

    images, labels = random_images(batch_size * steps, size)
    # Log lines are formatted and written as in any run, but the console belongs to the result.
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        torch_threads(threads),
        DefaultScope.overwrite_default_scope("ssl_ext"),
    ):
        epochs = WARMUP + pairs + profile
        start_all(Work(config, images, labels, epochs, workers, folder), starts, measure)
    return results[0]


def _starts() -> list[Start]:
    if find_spec("lightly") is None:
        raise UserError("The package lightly is missing; install the peers with: pip install -e .[bench]")
    # Imported here: importing the peers takes seconds, and lightly is an extra.
    from ssl_ext.benchmarks.peers_lightly import start_lightly
    from ssl_ext.benchmarks.peers_mmpretrain import start_mmpretrain

    # MMPretrain last: what its classes ask the newest runner for must be its own.
    return [start_ssl_ext, start_lightly, start_mmpretrain]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME", help=" ".join(METHODS))
    parser.add_argument("--stem", default="imagenet", metavar="NAME", help=f"{' '.join(STEMS)} (imagenet)")
    add_numbers(
        parser,
        ("batch-size", 256, "images per step"),
        ("size", 32, "side of the images in pixels"),
        ("steps", 4, "steps per epoch"),
        ("workers", 0, "worker processes of each data loader"),
    )
    add_pairs(parser)
    parser.add_argument("--profile", action="store_true", help="also show where an epoch spends its time")


def run(console: Console, *, methods: Sequence[str], **settings: Any) -> dict[str, Any]:
    """Measure, print a table per method and a sentence per peer, return the figures.

    Raises:
        UserError: An unknown method, and as :func:`benchmark_peers`.
        ValueError: A number out of range.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"--methods has {method!r}; allowed are {', '.join(METHODS)}.")
    shared = {key: settings[key] for key in ("stem", "batch_size", "size", "steps", "threads")}
    # All of them are checked before the first is measured.
    configs = {method: peers_config(METHODS[method], **shared) for method in dict.fromkeys(methods)}
    results = {}
    for method, config in configs.items():
        results[method] = result = benchmark_peers(config, **settings)
        title = f"{method}, {settings['stem']} stem, batch {settings['batch_size']}, {settings['size']} px"
        title += f", workers: {settings['workers']}"
        console.print(comparison_table(result.comparison, title))
        if result.profile:
            console.print(_profile_table(result.profile, f"{method}: milliseconds per step"))
    for text in (environment_line(*DISTRIBUTIONS), LAYOUT, *_sentences(results)):
        say(console, text)
    figures = {
        method: dict(
            result.comparison.figures(), trained_parameters=result.parameters, profile=result.profile
        )
        for method, result in results.items()
    }
    return dict(methods=figures, peers=environment_line(*DISTRIBUTIONS))


def _sentences(results: Mapping[str, PeersResult]) -> list[str]:
    peers = [name for name in next(iter(results.values())).comparison.seconds if name != OURS]
    return [
        f"Against {peer}, an epoch of this project takes "
        + ", ".join(
            "{:.2f}× ({:.2f} … {:.2f}) the time for {}".format(*result.comparison.speedup(peer), method)
            for method, result in results.items()
        )
        + "; the target is below 1×."
        for peer in peers
    ]


def _profile_table(profile: Mapping[str, Mapping[str, float]], title: str) -> Table:
    table = Table("what", title=title, caption="one epoch more, after the rounds")
    for heading in (*PHASES, "sum"):
        table.add_column(heading, justify="right")
    for name, seconds in profile.items():
        figures = [seconds[phase] for phase in PHASES]
        table.add_row(name, *(f"{value * 1e3:,.1f}" for value in (*figures, sum(figures))))
    return table
