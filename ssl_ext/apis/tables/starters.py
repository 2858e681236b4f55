"""The workers that the command line asks for: on this machine, in Slurm or on a Ray cluster."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ssl_ext.errors import UserError

from .local import Local
from .plan import Starter
from .ray import Ray, most_gpus
from .slurm import Slurm, require_slurm


@dataclass(frozen=True)
class Workers:
    """A maker of starters for a table's folder and a number of processes, and the number of workers.

    ``most_processes`` is that of one training (None: any), ``note`` a sentence about workers that outlive the
    command.
    """

    make: Callable[[Path, int], Starter]
    n: int
    most_processes: int | None
    note: str | None = None


def choose_workers(
    *,
    gpus: Sequence[str] | None = None,
    workers: int = 1,
    slurm: int | None = None,
    sbatch: str = "",
    ray: int | None = None,
) -> Workers:
    """Choose workers.

    Args:
        gpus: Ids of GPUs of this machine, one worker on each; None: all.
        workers: Workers on the CPU of this machine, without GPUs.
        slurm: Instead, workers in Slurm, for jobs of each number of processes.
        sbatch: More arguments of sbatch.
        ray: Instead, workers on a Ray cluster.

    Raises:
        UserError: There is no such GPU, Slurm or Ray.
    """
    if slurm:
        require_slurm()
        note = f"{slurm} workers are queued or run in Slurm; the same command tops them up."
        return Workers(partial(Slurm, arguments=shlex.split(sbatch)), slurm, None, note)
    if ray:
        return Workers(partial(Ray, workers=ray), ray, max(1, most_gpus()))
    devices = local_gpus(gpus)
    make = partial(Local, gpus=devices, workers=workers)
    return Workers(make, len(devices) or workers, len(set(devices)) or 1)


def local_gpus(gpus: Sequence[str] | None) -> list[str]:
    """Ids of the GPUs to use: those given, else all that this process sees; empty for the CPU.

    Given numbers count the GPUs of ``CUDA_VISIBLE_DEVICES``, if it is set.
    """
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    ids = [name.strip() for name in visible.split(",")][:count]
    if gpus is None:
        return ids
    if wrong := [gpu for gpu in gpus if not gpu.isdigit() or int(gpu) >= count]:
        raise UserError(f"--gpus {','.join(gpus)}: there is no GPU '{wrong[0]}', this machine has {count}.")
    return [ids[int(gpu)] for gpu in gpus]
