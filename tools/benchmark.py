#!/usr/bin/env python
"""Measure speed and memory, each against something else in the same run."""

import argparse
import json

from rich.console import Console

from ssl_ext.benchmarks import augment, epoch, files, knn, linear, memory, peers, scaling, step_command
from ssl_ext.benchmarks.pairs import PEERS, environment_line
from ssl_ext.env import package_versions
from ssl_ext.errors import run_tool, user_errors
from ssl_ext.files import replacing

COMMANDS = dict(
    augment=augment,
    step=step_command,
    epoch=epoch,
    files=files,
    knn=knn,
    linear=linear,
    memory=memory,
    peers=peers,
    scaling=scaling,
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    tools = parser.add_subparsers(dest="what", required=True)
    for name, command in COMMANDS.items():
        tool = tools.add_parser(name, help=command.HELP)
        command.add_arguments(tool)
        tool.add_argument("--threads", type=int, help="torch's threads (its default)")
        tool.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def main() -> None:
    settings = vars(parse())
    what, file = settings.pop("what"), settings.pop("json")
    with user_errors(f"benchmark {what}"):
        figures = COMMANDS[what].run(Console(), **settings)
    if file:
        about = dict(environment=environment_line(*PEERS), versions=package_versions())
        with replacing(file) as output:
            content = dict(benchmark=what, settings=settings, **figures, **about)
            output.write(json.dumps(content, indent=2).encode())


if __name__ == "__main__":
    run_tool(main)
