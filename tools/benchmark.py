#!/usr/bin/env python
"""Measure speed and memory, each against a reference measured in the same run."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.options import whole

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package, if it is not installed

from ssl_ext.errors import run_tool, user_errors

COMMANDS = {
    "augment": "two views of each image of a batch, here and with transforms per image",
    "step": "a training step of the runner and a bare loop",
    "detect": "epochs of a detector here and in the loop of torchvision's reference",
    "epoch": "epochs of a config as shipped and with one setting changed",
    "gpu": "steps of several methods on a GPU, captured and eager, and their network passes alone",
    "files": "from JPEG files and packs of them to batches, here and in MMPretrain",
    "knn": "the kNN classifier and the bare search for neighbours",
    "linear": "a linear probe on cached features and a bare loop",
    "memory": "memory of a step: plain, with gradient accumulation, with activation checkpointing",
    "peers": "epochs of SimCLR, Barlow Twins, MoCo v2 and BYOL, here and in lightly and MMPretrain",
    "scaling": "a step on one process and on two, and the bytes that it sends",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    tools = parser.add_subparsers(dest="what", required=True)
    for name, text in COMMANDS.items():
        tool = tools.add_parser(name, help=text)
        if name in sys.argv[1:2]:  # importing all would take seconds
            import_module(f"benchmarks.{name}").add_arguments(tool)
        tool.add_argument("--threads", type=whole(1), help="torch's threads (its default)")
        tool.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def main() -> None:
    settings = vars(parse())
    what, file = settings.pop("what"), settings.pop("json")

    import torch
    from benchmarks.compare import environment_line
    from rich.console import Console

    from ssl_ext.env import package_versions
    from ssl_ext.files import write_text

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    options = {name: value for name, value in settings.items() if name != "threads"}
    console = Console()
    with user_errors(f"benchmark {what}"):
        figures = import_module(f"benchmarks.{what}").run(console, **options)
    console.print(environment_line(), soft_wrap=True, highlight=False)
    if file:
        about = dict(environment=environment_line(), versions=package_versions())
        content = dict(benchmark=what, settings=settings, **figures, **about)
        write_text(file, json.dumps(content, indent=2))


if __name__ == "__main__":
    run_tool(main)
