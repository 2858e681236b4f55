#!/usr/bin/env python
"""Measure speed: augmentation against others, a training step and kNN against the bare loop, a probe."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config
from rich.console import Console

from ssl_ext.benchmarks import knn as knn_benchmark
from ssl_ext.benchmarks.augment import SEQUENCES, benchmark_augment
from ssl_ext.benchmarks.linear import Duration, benchmark_linear
from ssl_ext.benchmarks.methods import METHOD_TARGET, benchmark_methods
from ssl_ext.benchmarks.mixing import MIXING_TARGET, benchmark_mixing
from ssl_ext.benchmarks.pairs import Comparison, environment_line, show
from ssl_ext.benchmarks.step import BARE, STEMS, TARGET, benchmark_step
from ssl_ext.env import package_versions
from ssl_ext.errors import UserError, run_tool, user_errors
from ssl_ext.files import replacing

CONFIGS = Path(__file__).parents[1] / "configs"
CONFIG = CONFIGS / "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
# Sequences of medical images, and the side of their images.
MEDICAL = {name: CONFIGS / f"_base_/views/medical-{name}.py" for name in ("nat", "short", "nov", "grey")}
MEDICAL_SIZE = 28
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
PEERS = ("torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain", "pillow", "numpy")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    tools = parser.add_subparsers(dest="what", required=True)
    augment = tools.add_parser("augment", help="two views of a batch, ours and per image")
    names = " ".join((*SEQUENCES, *MEDICAL))
    augment.add_argument("--sequence", default="simclr", metavar="NAME", help=f"{names} (simclr)")
    step = tools.add_parser("step", help="a training step through the runner and in a bare loop")
    subject = step.add_mutually_exclusive_group()
    subject.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    subject.add_argument(
        "--method",
        metavar="NAME",
        help=f"{' '.join(METHODS)}: against the method that it builds on; {' '.join(MIXING)}: against "
        "cross-entropy on a plain and on a ready mixed batch",
    )
    step.add_argument("--steps", type=int, default=4, help="steps per measurement")
    step.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")
    knn = tools.add_parser("knn", help="the kNN classifier and the bare search of neighbours")
    for name, count in (("queries", 10_000), ("bank", 50_000), ("dim", 512), ("k", 200), ("pairs", 5)):
        knn.add_argument(f"--{name}", type=int, default=count, help=f"({count})")
    linear = tools.add_parser("linear", help="a linear probe on cached features")
    for name, count in (("rows", 50_000), ("dim", 512), ("epochs", 100), ("batch-size", 256)):
        linear.add_argument(f"--{name}", type=int, default=count, help=f"({count})")
    for tool in (knn, linear):
        tool.add_argument("--threads", type=int, help="torch's threads (its default)")
        tool.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    side = "side of the images in pixels"
    augment.add_argument("--size", type=int, help=f"{side} (32; {MEDICAL_SIZE} in {' '.join(MEDICAL)})")
    step.add_argument("--size", type=int, default=32, help=side)
    for tool, batch_size, pairs in ((augment, 512, 7), (step, 256, 5)):
        tool.add_argument("--batch-size", type=int, default=batch_size)
        tool.add_argument("--pairs", type=int, default=pairs, help="interleaved rounds, at least 5")
        tool.add_argument("--threads", type=int, help="torch's threads (its default)")
        tool.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def measure_augment(*, sequence: str, **settings) -> Comparison:
    """Of a medical sequence, the configs; the others are known by name."""
    if sequence not in (*SEQUENCES, *MEDICAL):
        raise UserError(f"--sequence is {sequence!r}; allowed are {', '.join((*SEQUENCES, *MEDICAL))}.")
    transforms = Config.fromfile(MEDICAL[sequence]).views[0].transforms if sequence in MEDICAL else sequence
    return benchmark_augment(sequence=transforms, **settings)


def measure_step(*, config: str, method: str | None, **settings) -> Comparison:
    """Of a config, the runner against the bare loop; of a method, its step against its twin's."""
    if method is None:
        return benchmark_step(config, **settings)
    if method in MIXING:
        return benchmark_mixing(MIXING[method], **settings)
    if method not in METHODS:
        raise UserError(f"--method is {method!r}; allowed are {', '.join((*METHODS, *MIXING))}.")
    return benchmark_methods(*METHODS[method], **settings)


def record(what: str, settings: dict, comparison: Comparison) -> dict:
    """Everything measured, as plain containers; speedups are median, smallest and largest."""
    return dict(
        benchmark=what,
        settings=settings,
        reference=comparison.reference,
        seconds={name: list(times) for name, times in comparison.seconds.items()},
        speedup={name: comparison.speedup(name) for name in comparison.seconds},
        items=comparison.items,
        unit=comparison.unit,
        threads=comparison.threads,
        peak_resident_bytes=comparison.peak_resident,
        peak_device_bytes=comparison.peak_device,
        environment=environment_line(*PEERS),
        versions=package_versions(),
    )


def write(file: str | None, content: dict) -> None:
    if file:
        with replacing(file) as output:
            output.write(json.dumps(content, indent=2).encode())


def say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def run_knn(settings: dict, file: str | None) -> None:
    with user_errors("benchmark knn"):
        comparison = knn_benchmark.benchmark_knn(**settings)
    console = Console()
    title = "knn: {queries} queries, bank {bank} x {dim}, k {k}".format(**settings)
    show(comparison, title, *PEERS, console=console)
    median, low, high = comparison.speedup(knn_benchmark.BARE)
    say(
        console,
        f"The classifier takes {median:.3f}× ({low:.3f} … {high:.3f}) the time of the bare search; the "
        f"target is at most {knn_benchmark.TARGET}×.",
    )
    write(file, record("knn", settings, comparison))


def run_linear(settings: dict, file: str | None) -> None:
    with user_errors("benchmark linear"):
        took: Duration = benchmark_linear(**settings)
    say(
        Console(),
        "linear: {epochs} epochs on {rows} x {dim} features, batch {batch_size}".format(**settings)
        + f", threads {took.threads}: {took.seconds:.1f} s, peak resident memory "
        f"{took.peak_resident / 2**20:,.0f} MiB\n{environment_line(*PEERS)}",
    )
    environment = dict(environment=environment_line(*PEERS), versions=package_versions())
    write(file, dict(benchmark="linear", settings=settings, **asdict(took), **environment))


def step_summary(method: str | None, comparison: Comparison) -> str:
    """What a step costs more, and how much it may."""
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


def main() -> None:
    settings = vars(parse())
    what, file = settings.pop("what"), settings.pop("json")
    if what in ("knn", "linear"):
        (run_knn if what == "knn" else run_linear)(settings, file)
        return
    if settings["size"] is None:
        settings["size"] = MEDICAL_SIZE if settings["sequence"] in MEDICAL else 32
    with user_errors(f"benchmark {what}"):
        comparison = (measure_augment if what == "augment" else measure_step)(**settings)
    title = f"{what}: batch {settings['batch_size']}, {settings['size']} px"
    console = Console()
    if what == "augment":
        show(comparison, f"{title}, {settings['sequence']}", *PEERS, console=console)
    else:
        name = settings["method"] or Path(settings["config"]).stem
        name += f", {settings['stem']} stem" if settings["stem"] else ""
        show(comparison, f"{title}, {name}", *PEERS, console=console)
        say(console, step_summary(settings["method"], comparison))
    write(file, record(what, settings, comparison))


if __name__ == "__main__":
    run_tool(main)
