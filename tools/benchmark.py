#!/usr/bin/env python
"""Measure speed: batched augmentation against others, a training step against the bare loop."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from ssl_ext.benchmarks.augment import SEQUENCES, benchmark_augment
from ssl_ext.benchmarks.pairs import Comparison, environment_line, show
from ssl_ext.benchmarks.step import BARE, STEMS, TARGET, benchmark_step
from ssl_ext.env import package_versions
from ssl_ext.errors import run_tool, user_errors
from ssl_ext.files import replacing

CONFIG = Path(__file__).parents[1] / "configs/barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10.py"
PEERS = ("torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain", "pillow", "numpy")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    tools = parser.add_subparsers(dest="what", required=True)
    augment = tools.add_parser("augment", help="two views of a batch: ours, mmpretrain's, torchvision's")
    augment.add_argument("--sequence", default="simclr", metavar="NAME", help=" ".join(SEQUENCES))
    step = tools.add_parser("step", help="a training step through the runner and in a bare loop")
    step.add_argument("--config", default=str(CONFIG), help="pretraining config (Barlow Twins, CIFAR-10)")
    step.add_argument("--steps", type=int, default=4, help="steps per measurement")
    step.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")
    for tool, batch_size, pairs in ((augment, 512, 7), (step, 256, 5)):
        tool.add_argument("--batch-size", type=int, default=batch_size)
        tool.add_argument("--size", type=int, default=32, help="side of the images in pixels")
        tool.add_argument("--pairs", type=int, default=pairs, help="interleaved rounds, at least 5")
        tool.add_argument("--threads", type=int, help="torch's threads (its default)")
        tool.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


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


def main() -> None:
    settings = vars(parse())
    what, file = settings.pop("what"), settings.pop("json")
    with user_errors(f"benchmark {what}"):
        comparison = (benchmark_augment if what == "augment" else benchmark_step)(**settings)
    title = f"{what}: batch {settings['batch_size']}, {settings['size']} px"
    console = Console()
    if what == "augment":
        show(comparison, f"{title}, {settings['sequence']}", *PEERS, console=console)
    else:
        name = Path(settings["config"]).stem + (f", {settings['stem']} stem" if settings["stem"] else "")
        show(comparison, f"{title}, {name}", *PEERS, console=console)
        median, low, high = comparison.speedup(BARE)
        console.print(
            f"A step through the runner takes {median:.3f}× ({low:.3f} … {high:.3f}) the time of the bare "
            f"loop; the target is at most {TARGET}×.",
            soft_wrap=True,
            highlight=False,
        )
    if file:
        with replacing(file) as output:
            output.write(json.dumps(record(what, settings, comparison), indent=2).encode())


if __name__ == "__main__":
    run_tool(main)
