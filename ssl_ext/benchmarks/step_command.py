"""``benchmark.py step``: a training step against a bare loop, or a method's step against its twin's."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from ssl_ext.apis import load_config, parse_options
from ssl_ext.benchmarks.methods import METHOD_TARGET, benchmark_methods
from ssl_ext.benchmarks.mixing import MIXING_TARGET, benchmark_mixing
from ssl_ext.benchmarks.pairs import PEERS, Comparison, add_pairs, say, show
from ssl_ext.benchmarks.step import BARE, STEMS, TARGET, benchmark_step
from ssl_ext.errors import UserError

HELP = "a training step through the runner and in a bare loop"
CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
# Methods and what a step of theirs is compared with: configs that differ in the method alone.
METHODS = {
    method: [CONFIGS / f"{folder}_resnet50_1xb512-adam-500e_cifar10.py" for folder in pair]
    for method, pair in {
        "jaccard-simclr": ("jaccard/jaccard-simclr", "simclr/simclr"),
        "jaccard-moco": ("jaccard/jaccard-moco", "moco/moco"),
    }.items()
}
# Against cross-entropy on a plain and on a ready mixed batch.
MIXING = {"amix": CONFIGS / "amix/amix_resnet18_1xb100-sgd-800e_cifar100.py"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    subject.add_argument(
        "--method",
        metavar="NAME",
        help=f"{' '.join(METHODS)}: against the method that it builds on; {' '.join(MIXING)}: against "
        "cross-entropy on a plain and on a ready mixed batch",
    )
    parser.add_argument("--steps", type=int, default=4, help="steps per measurement")
    parser.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override keys of --config"
    )
    add_pairs(parser)


def run(
    console: Console, *, config: str, method: str | None, cfg_options: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Measure, print the table and what a step costs more, return the figures."""
    if method and cfg_options:
        raise UserError("--cfg-options are for --config; --method compares configs as they are.")
    comparison = _measure(load_config(config, parse_options(cfg_options)), method, settings)
    name = (method or Path(config).stem) + (f", {settings['stem']} stem" if settings["stem"] else "")
    title = f"step: batch {settings['batch_size']}, {settings['size']} px, {name}"
    show(comparison, title, *PEERS, console=console)
    say(console, _summary(method, comparison))
    return comparison.figures()


def _measure(config: Config, method: str | None, settings: dict[str, Any]) -> Comparison:
    if method is None:
        return benchmark_step(config, **settings)
    if method in MIXING:
        return benchmark_mixing(MIXING[method], **settings)
    if method not in METHODS:
        raise UserError(f"--method is {method!r}; allowed are {', '.join((*METHODS, *MIXING))}.")
    return benchmark_methods(*METHODS[method], **settings)


def _summary(method: str | None, comparison: Comparison) -> str:
    if method is None:
        step, other, target, base = "A step through the runner", "the bare loop", TARGET, BARE
    else:
        ours, base = comparison.seconds
        target = MIXING_TARGET if method in MIXING else METHOD_TARGET
        step, other = f"A step of {ours}", f"one of {base}"
    median, low, high = comparison.speedup(base)
    return (
        f"{step} takes {median:.3f}× ({low:.3f} … {high:.3f}) the time of {other}; "
        f"the target is at most {target}×."
    )
