"""Options of the commands that run tables: where their jobs run."""

from __future__ import annotations

import argparse
from typing import Any

from ssl_ext.errors import UserError

STARTERS = ("gpus", "slurm", "ray")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--gpus``, ``--workers``, ``--slurm``, ``--sbatch`` and ``--ray``."""
    parser.add_argument(
        "--gpus", type=lambda text: text.split(","), metavar="0,0,1",
        help="a worker on each GPU listed; one listed twice is shared (all GPUs, else the CPU)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers without GPUs (1)")
    parser.add_argument("--slurm", type=int, metavar="N", help="top up to N workers in Slurm, then end")
    parser.add_argument("--sbatch", default="", metavar="ARGUMENTS", help="with --slurm: arguments of sbatch")
    parser.add_argument("--ray", type=int, metavar="N", help="N workers on the Ray cluster of RAY_ADDRESS")


def take_workers(args: dict[str, Any]) -> dict[str, Any]:
    """Remove these options from ``args`` and return them, for ``choose_workers`` of ``apis.tables.starters``.

    Raises:
        UserError: A number below 1, or options that exclude each other.
    """
    found = {name: args.pop(name) for name in (*STARTERS, "workers", "sbatch")}
    for name in ("workers", "slurm", "ray"):
        if found[name] is not None and found[name] < 1:
            raise UserError(f"--{name} {found[name]}: at least 1 is needed.")
    if len(engines := [name for name in STARTERS if found[name]]) > 1:
        raise UserError(f"--{engines[0]} and --{engines[1]} exclude each other.")
    if found["sbatch"] and not found["slurm"]:
        raise UserError("--sbatch needs --slurm.")
    return found
